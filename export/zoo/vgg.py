"""Train a small network of VGG's layout to see what a distilled VGG-19 sees, relu1_1 to relu5_1.

    python -m zoo.vgg --data DATA --out RUN --minutes 30

The student's maps, brought to the teacher's channels by 1x1 convolutions that are not kept, are
fitted to the teacher's (Wang et al. 2020, arXiv 2003.08436, whose encoder is the teacher), each
channel in units of its own deviation. RUN/vgg.safetensors is what `mien export vgg` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.averages import Averages
from zoo.crops import Crops
from zoo.losses import Vgg19Small
from zoo.training import Training, arguments, train, write_half

STAGES = (1, 2, 2, 2, 1)  # convolutions of each
WIDTHS = (16, 32, 64, 96, 96)
TEACHER = (16, 32, 64, 128, 128)
SIDE, BATCH, RATE = 128, 16, 2e-3
HELD = 4  # batches of crops, drawn with a seed of their own


class Student(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> relu1_1 .. relu5_1. Named as distilled encoders are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 3, 1)
        self.names: list[list[str]] = []
        c_in = 3
        for stage, (count, width) in enumerate(zip(STAGES, WIDTHS, strict=True), 1):
            self.names.append([f"conv{stage}{i}" for i in range(1, count + 1)])
            for name in self.names[-1]:
                layer = nn.Conv2d(c_in, width, 3)
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
                setattr(self, name, layer)
                c_in = width

    def forward(self, image: Tensor) -> list[Tensor]:
        x, taps = self.conv0((image + 1) * 0.5), []
        for stage, names in enumerate(self.names):
            x = F.max_pool2d(x, 2) if stage else x
            for i, name in enumerate(names):
                x = F.relu(getattr(self, name)(F.pad(x, (1, 1, 1, 1), mode="reflect")))
                if i == 0:
                    taps.append(x)
        return taps


class VggTraining(Training):
    """The student, its teacher, the 1x1 convolutions between them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.teacher = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")

    def begin(self) -> None:
        self.net = Student()
        self.bridges = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(WIDTHS, TEACHER, strict=True)
        )
        self._prepare(seed=0)

    def _prepare(self, seed: int) -> None:
        held = Crops(self.data, SIDE, BATCH, seed=999)
        self.held = [next(held) for _ in range(HELD)]
        self.crops = Crops(self.data, SIDE, BATCH, seed=seed)
        both = nn.ModuleList([self.net, self.bridges])
        self.averages = Averages(both)
        self.optimiser = torch.optim.Adam(both.parameters(), RATE)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * max(0.02, 1 - share)
        image = next(self.crops).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            errors = self._errors(image, self.net, self.bridges)
        self.optimiser.zero_grad()
        torch.stack(errors).sum().backward()
        self.optimiser.step()
        self.averages.follow(nn.ModuleList([self.net, self.bridges]), step)
        return {f"relu{i}_1": float(e.detach()) for i, e in enumerate(errors, 1)}

    def _errors(self, image: Tensor, net: nn.Module, bridges: nn.Module) -> list[Tensor]:
        """For each tap, the part of the teacher's variance that the student does not explain."""
        assert isinstance(bridges, nn.ModuleList)
        with torch.no_grad():
            wanted = [x.float() for x in self.teacher(image)]
        found = [b(x).float() for b, x in zip(bridges, net(image), strict=True)]
        return [
            ((a - b).square().mean((0, 2, 3)) / (b.var((0, 2, 3)) + 1e-4)).mean()
            for a, b in zip(found, wanted, strict=True)
        ]

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        net, bridges = self.averages.net
        errors = torch.tensor(
            [[float(e) for e in self._errors(x, net, bridges)] for x in self.held]
        )
        return {f"relu{i}_1 unexplained": float(e) for i, e in enumerate(errors.mean(0), 1)}

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "bridges": self.bridges.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.begin()
        self.net.load_state_dict(state["net"])
        self.bridges.load_state_dict(state["bridges"])
        self._prepare(seed=int(torch.randint(1 << 30, ())))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])


def main() -> None:
    options = arguments(__doc__, minutes=30).parse_args()
    torch.manual_seed(0)
    training = VggTraining(options.data)
    train(training, options.out, options.minutes)
    student = training.averages.net[0].state_dict()
    write_half(student, options.out / "vgg.safetensors")


if __name__ == "__main__":
    main()
