"""Train system 4's networks at 128 px: an identity of 70 numbers, and a decoder with 10 controls.

    python -m zoo.lookalike --data DATA --out RUN --minutes 60

In turn: faces drawn again with all controls at zero (L1, VGG features), and with random controls,
which have no target: an adversary judges the picture, a second head must read the controls from it
(InfoGAN, Chen et al. 2016: what cannot be read is not used), and the encoder must find the same
identity in it. Of both, mien's embedder must take the picture for the face, and VGG's features must
have the face's structure: what AdaIN leaves of them when it takes their mean and deviation.
RUN/lookalike.safetensors is what `mien export lookalike` reads. The published project states
neither sizes nor losses; all but the 70, the 10 and where they enter is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.lookalike import Lookalike, LookalikeConfig
from zoo.adversary import Adversary
from zoo.averages import Averages
from zoo.faces import Batches, as_images, learnt_and_held, load_faces, softened
from zoo.likeness import Likeness
from zoo.losses import Vgg19Small, feature_distance, structure_distance
from zoo.training import Training, arguments, train, write_half

CONFIG = LookalikeConfig(resolution=128, widths=(32, 64, 112, 144, 144))
BATCH = 24
RATE = 1e-3
PIXELS, FEATURES = 2.0, 0.5
ADVERSARIAL, FREE = 0.05, 0.3  # weight of the adversary on reconstructions and on free controls
READ, SAME = 0.15, 0.5  # weights: the controls can be read, the identity stays
STRUCTURE = 2.0  # weight of what the face is made of, whatever its tones
LIKE = 2.0  # weight of the likeness
SIZE = 1e-3  # penalty on large identities


class Reader(nn.Module):
    """Features of a picture -> its controls [N, 10]."""

    def __init__(self, control: int) -> None:
        super().__init__()
        self.looks = nn.ModuleList(nn.Conv2d(c, 32, 3, 2, 1) for c in (16, 32, 64, 128, 128))
        self.head = nn.Linear(32 * 16 * len(self.looks), control)

    def forward(self, features: list[Tensor]) -> Tensor:
        seen = [
            F.adaptive_avg_pool2d(F.leaky_relu(look(x.float() / 4), 0.2), 4).flatten(1)
            for look, x in zip(self.looks, features, strict=True)
        ]
        controls: Tensor = self.head(torch.cat(seen, 1))
        return controls


class LookalikeTraining(Training):
    """The networks, their adversary and reader, and the faces."""

    def __init__(self, data: Path) -> None:
        faces = load_faces(data, CONFIG.resolution)
        learnt, held = learnt_and_held(data)
        self.held = as_images(faces[held])
        self.faces = faces[learnt]
        self.features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
        self.likeness = Likeness(CONFIG.resolution)

    def begin(self) -> None:
        self.net, self.reader = Lookalike(CONFIG), Reader(CONFIG.control)
        self._prepare()

    def _prepare(self, seed: int = 0) -> None:
        self.net.to(memory_format=torch.channels_last)
        self.batches = Batches(self.faces, BATCH, seed=seed)
        self.averages = Averages(self.net)
        self.parameters = [*self.net.parameters(), *self.reader.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, RATE, (0.5, 0.99))
        self.adversary = Adversary(self.features)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * min(1.0, max(0.02, 2 * (1 - share)))
        real = next(self.batches).contiguous(memory_format=torch.channels_last)
        if step % 2 == 0:
            name, (loss, fake), weight = "reconstruction", self._reconstruction(real), ADVERSARIAL
        else:
            name, (loss, fake), weight = "controls", self._free(real), FREE
        self.optimiser.zero_grad()
        (loss + weight * self.adversary.loss(fake, step)).backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimiser.step()
        self.adversary.learn(real, fake, step)
        self.averages.follow(self.net, step)
        return {name: float(loss.detach())}

    def _reconstruction(self, real: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            identity = self.net.encoder(softened(real)).float()
            fake = self.net.decoder(identity, torch.zeros(len(real), CONFIG.control)).float()
        with torch.no_grad():
            wanted = self.features(real)
        near = PIXELS * F.l1_loss(fake, real)
        seen = self.features(fake)
        near = near + FEATURES * feature_distance(seen, wanted)
        near = near + STRUCTURE * structure_distance(seen, wanted)
        near = near + LIKE * self.likeness.distance(fake, real)
        return near + SIZE * identity.square().mean(), fake

    def _free(self, real: Tensor) -> tuple[Tensor, Tensor]:
        control = torch.rand(len(real), CONFIG.control) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                identity = self.net.encoder(softened(real)).float()
            fake = self.net.decoder(identity, control).float()
            again = self.net.encoder(fake.contiguous(memory_format=torch.channels_last)).float()
        with torch.no_grad():
            wanted = self.features(real)
        seen = self.features(fake)
        read = F.mse_loss(self.reader(seen), control) * 3  # 1 for a blind guess
        same = F.mse_loss(again, identity) / identity.var()
        like = LIKE * self.likeness.distance(fake, real)
        kept = STRUCTURE * structure_distance(seen, wanted)
        return READ * read + SAME * same + like + kept, fake

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        net, errors, changes = self.averages.net, [], []
        for x in self.held.split(50):
            identity = net.encoder(x)
            found = net.decoder(identity, torch.zeros(len(x), CONFIG.control))
            other = net.decoder(identity, torch.rand(len(x), CONFIG.control) * 2 - 1)
            errors.append((found - x).square().mean((1, 2, 3)))
            changes.append((other - found).abs().mean())
        psnr = 10 * math.log10(4 / float(torch.cat(errors).mean()))
        return {"PSNR in dB": psnr, "change by controls": float(torch.stack(changes).mean())}

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "reader": self.reader.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "adversary": self.adversary.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net, self.reader = Lookalike(CONFIG), Reader(CONFIG.control)
        self.net.load_state_dict(state["net"])
        self.reader.load_state_dict(state["reader"])
        self._prepare(seed=int(torch.randint(1 << 30, ())))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.adversary.restore(state["adversary"])


def main() -> None:
    options = arguments(__doc__, minutes=60).parse_args()
    torch.manual_seed(0)
    training = LookalikeTraining(options.data)
    train(training, options.out, options.minutes)
    write_half(training.averages.net.state_dict(), options.out / "lookalike.safetensors")


if __name__ == "__main__":
    main()
