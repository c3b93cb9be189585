"""FAN: heat maps of 98 facial landmarks, and the masks of StarGAN v2 that are made of them.

Wang et al. 2019 (arXiv 1904.07399), one hourglass with coordinates. Parameters carry the names
and the values of clovaai's `wing.ckpt`. Indices of landmarks are those of WFLW.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.batch_norm import BatchNorm
from mien_export.nets.build import Arrays, build, shape_of
from mien_export.nets.repeat import repeat
from mien_export.nets.separable import bilinear

SIZE = 256  # px: FAN sees pictures of this size
MAP = 64  # px: and draws heat maps of that
LANDMARKS = 98
DEEPEST = 6  # levels of an hourglass, down to 1 px


class CoordConv(nn.Module):
    """A convolution that sees where it is: row, column, and distance from the middle.

    Rows and columns are in [-1, 1]; the distance is 1 in the corners.
    """

    def __init__(self, c_in: int, c_out: int, side: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in + 3, c_out, kernel, stride, kernel // 2)
        axis = torch.arange(side, device="cpu") / (side - 1) * 2 - 1
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        radius = (rows.square() + columns.square()).sqrt()
        grid = torch.stack([rows, columns, radius / radius.max()])
        self.register_buffer("grid", grid, persistent=False)
        self.grid: Tensor

    def forward(self, x: Tensor) -> Tensor:  # [N, c_in, side, side]
        grid = self.grid.expand(x.shape[0], -1, -1, -1)
        result: Tensor = self.conv(torch.cat([x, grid], 1))
        return result


class ConvBlock(nn.Module):
    """Three convolutions, each of the one before it; their outputs side by side, and a shortcut."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half, quarter = c_out // 2, c_out // 4
        self.bn1, self.conv1 = BatchNorm(c_in), _conv(c_in, half)
        self.bn2, self.conv2 = BatchNorm(half), _conv(half, quarter)
        self.bn3, self.conv3 = BatchNorm(quarter), _conv(quarter, quarter)
        self.downsample: nn.Module = nn.Identity()
        if c_in != c_out:
            convolution = nn.Conv2d(c_in, c_out, 1, bias=False)
            self.downsample = nn.Sequential(BatchNorm(c_in), nn.ReLU(), convolution)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        result: Tensor = torch.cat([first, second, third], 1) + self.downsample(x)
        return result


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)


class Hourglass(nn.Module):
    """Down to the smallest of `depth` levels and up again, with a branch at every level."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.coordconv = CoordConv(channels, channels, MAP, 1, 1)
        for level in range(1, depth + 1):
            for part in ("b1", "b2", "b3"):
                self.add_module(f"{part}_{level}", ConvBlock(channels, channels))
        self.b2_plus_1 = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self._level(self.depth, self.coordconv(x))

    def _level(self, level: int, x: Tensor) -> Tensor:
        branch: Tensor = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return branch + repeat(low, 2)


@dataclass(frozen=True)
class Config:
    """Channels behind the first convolution and the three blocks, and levels of the hourglass."""

    widths: tuple[int, int, int, int] = (64, 128, 128, 256)
    depth: int = 4


class Fan(nn.Module):
    """image [N, 3, size, size], RGB in [-1, 1] -> heat maps [N, 98, 64, 64]."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.fit = bilinear(size, SIZE)
        first, second, third, inner = config.widths
        self.conv1, self.bn1 = CoordConv(3, first, SIZE, 7, 2), BatchNorm(first)
        self.conv2 = ConvBlock(first, second)
        self.conv3 = ConvBlock(second, third)
        self.conv4 = ConvBlock(third, inner)
        self.m0 = Hourglass(inner, config.depth)
        self.top_m_0 = ConvBlock(inner, inner)
        self.conv_last0, self.bn_end0 = nn.Conv2d(inner, inner, 1), BatchNorm(inner)
        self.l0 = nn.Conv2d(inner, LANDMARKS + 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.fit(image) * 0.5 + 0.5
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.conv4(self.conv3(F.avg_pool2d(self.conv2(x), 2)))
        x = self.top_m_0(self.m0(x))
        maps: Tensor = self.l0(F.relu(self.bn_end0(self.conv_last0(x))))
        return maps[:, :LANDMARKS]  # the last map is that of the face's outline


def fan_from_tensors(tensors: Arrays, size: int = SIZE) -> Fan:
    """Build the network of a checkpoint for pictures of `size` px. Raises ArchMismatch."""
    what = "a FAN of 98 landmarks"
    first = shape_of(tensors, "conv1.conv.weight", 4, what)[0]
    second, third, inner = (
        2 * shape_of(tensors, f"conv{i}.conv1.weight", 4, what)[0] for i in (2, 3, 4)
    )
    depth = sum(f"m0.b1_{level}.conv1.weight" in tensors for level in range(1, DEEPEST + 1))
    config = Config((first, second, third, inner), depth)
    return build(lambda: Fan(config, size), tensors, what)


def landmarks_from_heatmaps(heatmaps: Tensor, size: int) -> Tensor:
    """Return where each map is highest: [N, 98, 64, 64] -> x and y [N, 98, 2], px of `size`.

    Pixels have their centres at 0.5. A landmark moves by a quarter of a map's pixel towards the
    higher neighbour, in x and in y; not in the map's outermost rows and columns.
    """
    best = heatmaps.flatten(2).argmax(2)  # [N, 98]
    row = (best.float() / MAP).floor()
    place = torch.stack([best.float() - row * MAP, row], 2)
    right = heatmaps[:, :, 1:-1, 2:] - heatmaps[:, :, 1:-1, :-2]
    down = heatmaps[:, :, 2:, 1:-1] - heatmaps[:, :, :-2, 1:-1]
    towards = [F.pad(x.sign(), (1, 1, 1, 1)).flatten(2) for x in (right, down)]
    moves = [x.gather(2, best.unsqueeze(2)) for x in towards]
    return (place + 0.5 + 0.25 * torch.cat(moves, 2)) * (size / MAP)


@dataclass(frozen=True)
class Part:
    """Landmarks whose maps cover a part of the face: from `first` on, before `last`.

    up: rows that their maps move upwards, round the edge. power: sharpens a map.
    """

    first: int
    last: int
    up: int = 0
    power: int = 1


NOSE = (Part(51, 52), Part(52, 55, up=4), Part(55, 60, up=8, power=4))
EYES = (Part(60, 76, up=-8, power=3), Part(60, 76, up=-24), Part(96, 98))  # lids twice, pupils
CHIN = (Part(8, 25, power=3),)
BROWS = (Part(34, 46, up=-7, power=2), Part(47, 51, up=-7, power=2))
LIPS = (
    Part(77, 82, up=-8, power=4),
    Part(83, 88, up=8, power=4),
    Part(88, 96, up=-2, power=3),
)
NOTHING = 0.1  # lower values of a heat map count as zero


def masks_from_heatmaps(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return what of a face a translation keeps: [N, 98, 256, 256] -> two [N, 1, 256, 256].

    The first mask covers all its parts, the second nose and eyes; values are in [0, 1]. A NaN
    stays one, so that it is seen in the picture; clovaai makes it 0.
    """
    maps = torch.where(heatmaps < NOTHING, torch.zeros_like(heatmaps), heatmaps)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    maps = (maps - low) / (high - low + 1e-6)
    inner = _sum(maps, (*NOSE, *EYES))
    everything = inner + _sum(maps, (*CHIN, *BROWS, *LIPS))
    return everything.clamp(0, 1), inner.clamp(0, 1)


def _sum(maps: Tensor, parts: tuple[Part, ...]) -> Tensor:
    sums = [
        _rolled((maps[:, part.first : part.last] ** part.power).sum(1, keepdim=True), part.up)
        for part in parts
    ]
    return torch.cat(sums, 1).sum(1, keepdim=True)


def _rolled(x: Tensor, up: int) -> Tensor:
    """Move the rows of x [N, C, H, W] up, and those at the top to the bottom."""
    return x if up == 0 else torch.cat([x[:, :, up:], x[:, :, :up]], 2)
