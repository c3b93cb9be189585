"""A small detector of faces with five points each: one pass, no anchors, any size of picture.

The form is that of single-shot detectors without anchors (FCOS, Tian et al. 2019, arXiv 1904.01355)
on a feature pyramid (Lin et al. 2017, arXiv 1612.03144) of separable convolutions (MobileNet,
Howard et al. 2017, arXiv 1704.04861). Layout, sizes and the coding of points are ours: points are
predicted in units of the box, so that a face of any size has the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.repeat import repeat

WHAT = "a face detector of this project's layout"
STRIDES = (8, 16, 32)
POINTS = 5
VALUES = 2 + 4 + 2 * POINTS  # a cell: face, quality, centre and size, points
LONGEST = 640  # px: it was trained on pictures up to so large, and on faces that fill them
LARGEST = 6.0  # logarithm of a side in strides: beyond any picture, within float16
# Where the points of an upright face lie, in sides of its box from its centre: eyes, nose, mouth.
USUAL = ((-0.19, -0.11), (0.19, -0.11), (0.0, 0.09), (-0.15, 0.27), (0.15, 0.27))


@dataclass(frozen=True)
class FaceDetectorConfig:
    """stages: of each halving of the picture, the width of its units. wide: that of the pyramid.

    The last three stages see strides 8, 16 and 32.
    """

    stages: tuple[tuple[int, ...], ...] = ((16,), (32,), (64, 64), (96, 96, 96), (128,) * 4)
    wide: int = 64


class Unit(nn.Module):
    """Depthwise and pointwise convolution, each normalised; plus the input where that fits."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        around = kernel // 2
        self.depthwise = nn.Conv2d(c_in, c_in, kernel, stride, around, groups=c_in, bias=False)
        self.first = nn.BatchNorm2d(c_in)
        self.pointwise = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.second = nn.BatchNorm2d(c_out)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(self.depthwise(x)))
        y = F.relu(self.second(self.pointwise(y)))
        return x + y if self.residual else y


class Pyramid(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> maps of strides 8, 16, 32, each [N, wide, H/s, W/s]."""

    def __init__(self, config: FaceDetectorConfig) -> None:
        super().__init__()
        c_in = config.stages[0][0]
        self.first = nn.Conv2d(3, c_in, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_in)
        self.stages = nn.ModuleList()
        for level, widths in enumerate(config.stages[1:], 1):
            stage = nn.Sequential()
            for i, width in enumerate(widths):
                # At stride 32 a kernel of 5 sees 128 px further: a face may fill the picture.
                kernel = 5 if level == len(config.stages) - 1 and i else 3
                stage.append(Unit(c_in, width, kernel, 1 if i else 2))
                c_in = width
            self.stages.append(stage)
        ends = [stage[-1] for stage in config.stages[-len(STRIDES) :]]
        self.across = nn.ModuleList(nn.Conv2d(width, config.wide, 1) for width in ends)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = F.relu(self.norm(self.first(image))), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        maps = [across(x) for across, x in zip(self.across, maps[-len(STRIDES) :], strict=True)]
        for i in range(len(maps) - 2, -1, -1):
            maps[i] = maps[i] + repeat(maps[i + 1], 2)
        return maps


class FaceDetector(nn.Module):
    """image [N, 3, H, W], BGR, 0 to 255, sides a multiple of 32 -> what each cell says.

    Of each stride s, [N, H/s * W/s, k], row by row: the probability of a face; that of a good box;
    its centre against the cell and the logarithms of its sides, in strides; the points against the
    cell, in strides.
    """

    def __init__(self, config: FaceDetectorConfig) -> None:
        super().__init__()
        self.pyramid = Pyramid(config)
        self.heads = nn.ModuleList(self._head(config.wide, stride) for stride in STRIDES)

    @staticmethod
    def _head(wide: int, stride: int) -> nn.Sequential:
        kernel = 5 if stride == STRIDES[-1] else 3
        return nn.Sequential(
            Unit(wide, wide, kernel), Unit(wide, wide, kernel), nn.Conv2d(wide, VALUES, 1)
        )

    def cells(self, image: Tensor) -> list[Tensor]:
        """Return the raw values, [N, H/s * W/s, VALUES] of each stride."""
        maps = self.pyramid(image / 127.5 - 1)
        raw = [head(x) for head, x in zip(self.heads, maps, strict=True)]
        return [x.permute(0, 2, 3, 1).flatten(1, 2) for x in raw]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        read = [decoded(x) for x in self.cells(image)]
        return tuple(x[part] for part in range(4) for x in read)


def decoded(raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Raw values [..., VALUES] -> face [..., 1], quality [..., 1], box [..., 4], points [..., 10].

    The coding is YuNet's (Wu et al. 2023), whose readers then read this network, too.
    """
    face, quality, centre = raw[..., :1], raw[..., 1:2], raw[..., 2:4]
    size, points = raw[..., 4:6].clamp(max=LARGEST), raw[..., 6:]
    places = centre.repeat(*[1] * (raw.dim() - 1), POINTS)
    sides = size.exp().repeat(*[1] * (raw.dim() - 1), POINTS)
    return face.sigmoid(), quality.sigmoid(), torch.cat([centre, size], -1), places + points * sides


def begin(net: FaceDetector) -> None:
    """Set the last biases to what most cells should say: no face; a usual one where there is."""
    with torch.no_grad():
        for head in net.heads:
            assert isinstance(head, nn.Sequential)
            last = head[-1]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[:2] = -4.0
            last.bias[2:4] = 0.5
            last.bias[4:6] = 1.2
            last.bias[6:] = torch.tensor(USUAL).flatten()


def face_detector_from_tensors(tensors: Arrays) -> FaceDetector:
    """Build the network that a state dict describes. Raises ArchMismatch."""
    stages: list[tuple[int, ...]] = [(shape_of(tensors, "pyramid.first.weight", 4, WHAT)[0],)]
    for s in range(length_of(tensors, "pyramid.stages")):
        count = length_of(tensors, f"pyramid.stages.{s}")
        names = [f"pyramid.stages.{s}.{i}.pointwise.weight" for i in range(count)]
        stages.append(tuple(shape_of(tensors, name, 4, WHAT)[0] for name in names))
    if 1 << len(stages) != STRIDES[-1]:
        raise ArchMismatch(
            f"the file halves the picture {len(stages)} times, expected 5 in {WHAT}",
            hint="Name the file that zoo.detector wrote",
        )
    wide = shape_of(tensors, "pyramid.across.0.weight", 4, WHAT)[0]
    config = FaceDetectorConfig(tuple(stages), wide)
    return build(lambda: FaceDetector(config), tensors, WHAT)
