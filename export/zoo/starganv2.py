"""Train StarGAN v2 at 128 px between women and men.

    python -m zoo.starganv2 --data DATA --out RUN --minutes 90

Choi et al. 2020 (arXiv 1912.01865, Eq. 1 to 6): in turn with styles from random codes and with
styles of reference faces, a source is drawn in the other domain; an adversary judges the domain,
the style must be found again, two styles must differ, and the source must come back from its own
style. RUN/nets_ema.ckpt is what `mien export starganv2` reads. Deviations, for two cores and
an hour and a half: an eighth of the published widths; faces of half the size at first; a face must
also come back from its own style at once (as in MUNIT, Huang et al. 2018, arXiv 1804.04732), which
teaches styles to say something long before the adversaries do; a discriminator on frozen features
with a head for each domain, to which real faces of the other domain are false too (as in Reed et
al. 2016, arXiv 1605.05396); convolutions in bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.starganv2 import Config, Generator
from mien_export.nets.starganv2_styles import MappingNetwork, StyleEncoder, of_domain
from zoo.adversary import Adversary
from zoo.averages import Averages
from zoo.faces import DOMAINS, Batches, as_images, learnt_and_held, load_domains, load_faces
from zoo.losses import Vgg19Small, feature_distance
from zoo.training import Training, arguments, train

STYLE, LATENT, HIDDEN = 64, 16, 256
WIDTHS = (16, 32, 64, 128, 128, 128)
CONFIG = Config(WIDTHS, STYLE, skip=False)
BATCH = 8
RATE = 5e-4  # five times the published one, for a tenth of its steps
MAPPED = 0.1  # part of it for the mapping network; a hundredth was published
ADVERSARIAL, FOUND, DIVERSE, CYCLE = 1.0, 1.0, 1.0, 2.0
PIXELS, FEATURES = 2.0, 0.5  # of a face from its own style
COARSE = 0.5  # of the budget, with faces of half the size
FALSE = 4  # faces of the other domain in each batch of the discriminator


class Networks(nn.Module):
    """Generator, mapping network and style encoder, named as clovaai's file names them."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Generator(CONFIG)
        self.mapping_network = MappingNetwork(
            [LATENT, HIDDEN, HIDDEN], [HIDDEN, HIDDEN, STYLE], len(DOMAINS)
        )
        self.style_encoder = StyleEncoder(list(WIDTHS), STYLE, len(DOMAINS))


class StarganV2Training(Training):
    """The networks, an adversary a domain, and the faces of each domain."""

    def __init__(self, data: Path) -> None:
        faces, domains = load_faces(data, CONFIG.resolution), load_domains(data)
        learnt, held = learnt_and_held(data)
        self.faces = [faces[[i for i in learnt if domains[i] == d]] for d in range(len(DOMAINS))]
        self.held = [as_images(faces[[i for i in held if domains[i] == d]]) for d in (0, 1)]
        self.features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")

    def begin(self) -> None:
        self.net = Networks()
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, 0.2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self._prepare(seed=0)

    def _prepare(self, seed: int) -> None:
        self.net.to(memory_format=torch.channels_last)
        self.batches = [Batches(faces, BATCH, seed + i) for i, faces in enumerate(self.faces)]
        self.averages = Averages(self.net)
        drawing = [*self.net.generator.parameters(), *self.net.style_encoder.parameters()]
        groups = [
            {"params": drawing, "part": 1.0},
            {"params": [*self.net.mapping_network.parameters()], "part": MAPPED},
        ]
        self.optimiser = torch.optim.Adam(groups, RATE, (0.0, 0.99))
        self.adversaries = [Adversary(self.features) for _ in DOMAINS]

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        rate = RATE * min(1.0, (step + 1) / 100) * min(1.0, max(0.02, 2 * (1 - share)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["part"]
        target = step % len(DOMAINS)
        source, reference, other = (
            self._faces(d, coarse=share < COARSE) for d in (1 - target, target, target)
        )
        with torch.autocast("cpu", torch.bfloat16):
            if step // 2 % 2:
                styles = [self._style(x, target) for x in (reference, other)]
            else:
                styles = [self._random(BATCH, target) for _ in range(2)]
            fake = self.net.generator(source, styles[0]).float()
            with torch.no_grad():
                second = self.net.generator(source, styles[1]).float()
            found = self._style(fake, target)
            back = self.net.generator(fake, self._style(source, 1 - target)).float()
            same = self.net.generator(reference, self._style(reference, target)).float()
        found_loss = F.l1_loss(found.float(), styles[0].float())
        diversity = F.l1_loss(fake, second)
        cycle, again = F.l1_loss(back, source), self._unlike(same, reference)
        judged = self.adversaries[target].loss(fake, step)
        diverse = DIVERSE * (1 - share)
        loss = ADVERSARIAL * judged + FOUND * found_loss - diverse * diversity
        loss = loss + CYCLE * cycle + again
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        false = torch.cat([fake.detach(), source[:FALSE]])
        self.adversaries[target].learn(reference, false, step // 2)
        self.averages.follow(self.net, step)
        losses = {"cycle": cycle, "again": again, "style": found_loss, "diversity": diversity}
        return {name: float(value.detach()) for name, value in losses.items()}

    def _unlike(self, drawn: Tensor, face: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(face)
        features = feature_distance(self.features(drawn), wanted)
        return PIXELS * F.l1_loss(drawn, face) + FEATURES * features

    def _domain(self, count: int, domain: int) -> Tensor:
        return torch.full((count,), domain)

    def _faces(self, domain: int, *, coarse: bool) -> Tensor:
        faces = next(self.batches[domain])
        faces = F.avg_pool2d(faces, 2) if coarse else faces
        return faces.contiguous(memory_format=torch.channels_last)

    def _style(self, image: Tensor, domain: int) -> Tensor:
        if image.shape[-1] < CONFIG.resolution:  # the style encoder has one size
            image = F.interpolate(image, scale_factor=2.0, mode="bilinear")
        return of_domain(self.net.style_encoder(image), self._domain(len(image), domain))

    def _random(self, count: int, domain: int) -> Tensor:
        styles = self.net.mapping_network(torch.randn(count, LATENT))
        return of_domain(styles, self._domain(count, domain))

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """The error of coming back from the other domain, and how much reference styles change."""
        net, cycles, changes = self.averages.net, [], []
        for source, target in ((0, 1), (1, 0)):
            count = min(24, len(self.held[0]), len(self.held[1]))
            image, reference = self.held[source][:count], self.held[target][:count]
            domains = (self._domain(count, target), self._domain(count, source))
            drawn = net.generator(image, of_domain(net.style_encoder(reference), domains[0]))
            own = of_domain(net.style_encoder(image), domains[1])
            cycles.append((net.generator(drawn, own) - image).abs().mean())
            changes.append((drawn - image).abs().mean())
        return {
            "cycle": float(torch.stack(cycles).mean()),
            "change": float(torch.stack(changes).mean()),
        }

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "adversaries": [adversary.state() for adversary in self.adversaries],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net = Networks()
        self.net.load_state_dict(state["net"])
        self._prepare(seed=int(np.random.default_rng().integers(1 << 30)))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])
        for adversary, kept in zip(self.adversaries, state["adversaries"], strict=True):
            adversary.restore(kept)


def main() -> None:
    options = arguments(__doc__, minutes=90).parse_args()
    torch.manual_seed(0)
    training = StarganV2Training(options.data)
    train(training, options.out, options.minutes)
    checkpoint = {
        name: {k: x.half() for k, x in part.state_dict().items()}
        for name, part in training.averages.net.named_children()
    }
    torch.save(checkpoint, options.out / "nets_ema.ckpt")


if __name__ == "__main__":
    main()
