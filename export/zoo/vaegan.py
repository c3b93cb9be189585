"""Train system 0's networks at 128 px: a VAE, a generator in its latent space, and their merge.

    python -m zoo.vaegan --data DATA --out RUN --minutes 60

In turn: faces through the VAE (L1, VGG features, KL divergence), and merges of two faces, which
have no target: an adversary judges them; the content keeps the encoder's deep features, and the
structure of VGG's (what AdaIN leaves of them when it takes their mean and deviation); the pattern
gives the mean and deviation of the encoder's shallow ones (Huang and Belongie 2017, with the VAE's
encoder in place of VGG); and mien's embedder must see both in the face. RUN/vaegan.safetensors is
what `mien export vaegan` reads. Batch normalisation and a discriminator on frozen features are
ours; so is all that the published project does not state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.vaegan import VaeGan, VaeGanConfig
from zoo.adversary import Adversary
from zoo.averages import Averages
from zoo.faces import Batches, as_images, learnt_and_held, load_faces, softened
from zoo.likeness import Likeness
from zoo.losses import Vgg19Small, feature_distance, structure_distance
from zoo.training import Training, arguments, train, write_half

CONFIG = VaeGanConfig(resolution=128, latent=192, widths=(32, 64, 112, 144, 144))
BATCH = 24
RATE = 1e-3
PIXELS, FEATURES, KL = 2.0, 0.5, 2e-3
ADVERSARIAL, MERGED = 0.05, 0.3  # weight of the adversary on reconstructions and on merges
CONTENT, PATTERN, LIKE = 0.5, 1.0, 3.0
STRUCTURE = 1.5  # weight of what the face is made of, whatever its tones
WARM_UP = 1000  # steps before the merge is trained


class VaeGanTraining(Training):
    """The networks, their adversary, and the faces."""

    def __init__(self, data: Path) -> None:
        faces = load_faces(data, CONFIG.resolution)
        learnt, held = learnt_and_held(data)
        self.held = as_images(faces[held])
        self.faces = faces[learnt]
        self.features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
        self.likeness = Likeness(CONFIG.resolution)

    def begin(self) -> None:
        self.net = VaeGan(CONFIG)
        nn.init.zeros_(self.net.merge.mixes[-1].weight)
        self._prepare()

    def _prepare(self, seed: int = 0) -> None:
        self.net.to(memory_format=torch.channels_last)
        self.batches = Batches(self.faces, BATCH, seed=seed)
        self.averages = Averages(self.net)
        self.optimiser = torch.optim.Adam(self.net.parameters(), RATE, (0.5, 0.99))
        self.adversary = Adversary(self.features)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * min(1.0, max(0.02, 2 * (1 - share)))
        real = next(self.batches).contiguous(memory_format=torch.channels_last)
        if step % 2 == 0 or step < WARM_UP:
            name, (loss, fake), weight = "reconstruction", self._reconstruction(real), ADVERSARIAL
        else:
            name, (loss, fake), weight = "merge", self._merge(real), MERGED
        self.optimiser.zero_grad()
        (loss + weight * self.adversary.loss(fake, step)).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self.adversary.learn(real, fake, step)
        self.averages.follow(self.net, step)
        return {name: float(loss.detach())}

    def _reconstruction(self, real: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            mu, logvar = (x.float() for x in self.net.encoder(softened(real)))
            logvar = logvar.clamp(-8, 4)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            fake = self._drawn(z.unsqueeze(1).expand(-1, self.net.generator.blocks, -1))
        with torch.no_grad():
            wanted = self.features(real)
        divergence = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean()  # to N(0, 1)
        near = PIXELS * F.l1_loss(fake, real)
        seen = self.features(fake)
        near = near + FEATURES * feature_distance(seen, wanted)
        near = near + STRUCTURE * structure_distance(seen, wanted)
        return near + KL * divergence, fake

    def _drawn(self, codes: Tensor) -> Tensor:
        image: Tensor = self.net.generator(codes).float()
        return image

    def _merge(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Merge each face with its neighbour, in all blocks or in a random range of them."""
        pattern, blocks = real.roll(1, 0), self.net.generator.blocks
        low, high = sorted(torch.randint(0, blocks + 1, (2,)).tolist())
        ranges = [(0, blocks), (low, high)][int(torch.randint(2, ()))]
        chosen = torch.zeros(blocks, 1)
        chosen[slice(*ranges)] = 1
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                own = self.net.encoder(softened(real))[0].float()
            merged = self.net.merge(own, own.roll(1, 0)).float()
            fake = self._drawn(own.unsqueeze(1) + chosen * (merged - own).unsqueeze(1))
            tower = self.averages.net.encoder.tower
            found = [x.float() for x in tower(fake)]
            with torch.no_grad():
                kept = [x.float() for x in tower(real)]
                given = [x.float() for x in tower(pattern)]
                wanted = self.features(real)
        content = sum(_relative(found[i], kept[i]) for i in (3, 4))
        style = sum(_relative(_moments(found[i]), _moments(given[i])) for i in (0, 1, 2))
        share = chosen.mean()
        like = self.likeness.distance(fake, real, pattern)
        structure = structure_distance(self.features(fake), wanted)
        loss: Tensor = CONTENT * content + STRUCTURE * structure
        loss = loss + share * (PATTERN * style + LIKE * like)
        return loss, fake

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        net = self.averages.net
        errors = []
        for x in self.held.split(50):
            codes = net.encoder(x)[0].unsqueeze(1).expand(-1, net.generator.blocks, -1)
            errors.append((net.generator(codes) - x).square().mean((1, 2, 3)))
        return {"PSNR in dB": 10 * math.log10(4 / float(torch.cat(errors).mean()))}

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "adversary": self.adversary.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net = VaeGan(CONFIG)
        self.net.load_state_dict(state["net"])
        self._prepare(seed=int(torch.randint(1 << 30, ())))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.adversary.restore(state["adversary"])


def _moments(x: Tensor) -> Tensor:
    """Mean and deviation of each plane of x [N, C, H, W]: [N, 2, C]."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    return torch.stack([mean, (variance + 1e-5).sqrt()], 1)


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference, in units of what is wanted."""
    return (found - wanted).abs().mean() / wanted.abs().mean()


def main() -> None:
    options = arguments(__doc__, minutes=60).parse_args()
    torch.manual_seed(0)
    training = VaeGanTraining(options.data)
    train(training, options.out, options.minutes)
    write_half(training.averages.net.state_dict(), options.out / "vaegan.safetensors")


if __name__ == "__main__":
    main()
