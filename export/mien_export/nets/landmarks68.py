"""68 points of a face in a square crop: separable convolutions, then one linear layer.

PFLD (Guo et al. 2019, arXiv 1902.10859) regresses the coordinates directly, too; layout and sizes
are ours. Units are those of the detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.face_detector import Unit

WHAT = "a landmark network of this project's layout"
POINTS = 68  # in iBUG's order
LARGEST = 1024  # px of a crop


@dataclass(frozen=True)
class Landmarks68Config:
    """stages: of each halving of the crop, the width of its units. last: channels that are read.

    size: px of the crop.
    """

    stages: tuple[tuple[int, ...], ...] = ((24,), (48, 48), (96, 96, 96), (128,) * 4)
    last: int = 24
    size: int = 112


class Landmarks68(nn.Module):
    """image [N, 3, size, size] in [-1, 1], RGB -> points [N, 68, 2], x and y, 0 to 1."""

    def __init__(self, config: Landmarks68Config) -> None:
        super().__init__()
        self.size = config.size
        c_in = config.stages[0][0]
        self.first = nn.Conv2d(3, c_in, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_in)
        self.stages = nn.ModuleList()
        for widths in config.stages[1:]:
            stage = nn.Sequential()
            for i, width in enumerate(widths):
                stage.append(Unit(c_in, width, 3, 1 if i else 2))
                c_in = width
            self.stages.append(stage)
        self.narrow = nn.Conv2d(c_in, config.last, 1)
        side = config.size >> len(config.stages)
        self.points = nn.Linear(config.last * side * side, 2 * POINTS)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(image)))
        for stage in self.stages:
            x = stage(x)
        points: Tensor = self.points(F.relu(self.narrow(x)).flatten(1))
        return points.reshape(-1, POINTS, 2)


def begin(net: Landmarks68, usual: Tensor) -> None:
    """Start from usual [68, 2], the mean of the points."""
    with torch.no_grad():
        net.points.weight.mul_(0.1)
        net.points.bias.copy_(usual.flatten())


def landmarks68_from_tensors(tensors: Arrays) -> Landmarks68:
    """Build the network that a state dict describes. Raises ArchMismatch."""
    stages: list[tuple[int, ...]] = [(shape_of(tensors, "first.weight", 4, WHAT)[0],)]
    for s in range(length_of(tensors, "stages")):
        count = length_of(tensors, f"stages.{s}")
        names = [f"stages.{s}.{i}.pointwise.weight" for i in range(count)]
        stages.append(tuple(shape_of(tensors, name, 4, WHAT)[0] for name in names))
    last = shape_of(tensors, "narrow.weight", 4, WHAT)[0]
    inside = shape_of(tensors, "points.weight", 2, WHAT)[1]
    side = math.isqrt(inside // last)
    size = side << len(stages)
    if side * side * last != inside or size > LARGEST:
        raise ArchMismatch(
            f"points.weight reads {inside} values of {last} channels behind {len(stages)} "
            f"halvings, expected a square of at most {LARGEST} px in {WHAT}",
            hint="Name the file that zoo.landmarks wrote",
        )
    config = Landmarks68Config(tuple(stages), last, size)
    return build(lambda: Landmarks68(config), tensors, WHAT)
