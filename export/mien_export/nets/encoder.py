"""An encoder from a face to a generator's W+ code, small enough to ship.

Strided convolutions, the widest of them factored, then one shared w and a small offset of each
layer (after Tov et al. 2021, arXiv 2102.02766, "e4e"). Sizes come from the tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.build import Arrays, build, length_of, shape_of

WHAT = "an encoder of this project's layout"
PATCH = 2  # px: pictures enter as patches, so the first convolution runs at half resolution


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder.

    widths: channels of the stages, each of which halves the picture.
    ranks: of the stages' factored convolutions; 0 is a plain one.
    """

    resolution: int = 128
    num_ws: int = 12
    w_dim: int = 192
    widths: tuple[int, ...] = (48, 96, 160, 224)
    ranks: tuple[int, ...] = (0, 0, 0, 64)
    head_rank: int = 64
    head_width: int = 512
    offset_rank: int = 32


def convolution(c_in: int, c_out: int, kernel: int, stride: int, rank: int) -> nn.Module:
    """A convolution, or its factors: to `rank` channels, then 1x1."""
    if not rank:
        return nn.Conv2d(c_in, c_out, kernel, stride, 1)
    return nn.Sequential(
        nn.Conv2d(c_in, rank, kernel, stride, 1, bias=False), nn.Conv2d(rank, c_out, 1)
    )


class Stage(nn.Module):
    """Halve the picture, then look around: two convolutions with leaky ReLUs."""

    def __init__(self, c_in: int, c_out: int, rank: int) -> None:
        super().__init__()
        self.down = convolution(c_in, c_out, 4, 2, rank)
        self.same = convolution(c_out, c_out, 3, 1, rank)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.same(F.leaky_relu(self.down(x), 0.2)), 0.2)


class Encoder(nn.Module):
    """image [N, 3, R, R] in [-1, 1], RGB -> ws [N, num_ws, w_dim]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3 * PATCH**2, *config.widths)
        self.stages = nn.ModuleList(
            Stage(c_in, c_out, rank)
            for c_in, c_out, rank in zip(widths, config.widths, config.ranks, strict=False)
        )
        side = config.resolution // PATCH // 2 ** len(config.widths)
        self.squeeze = nn.Linear(widths[-1] * side * side, config.head_rank, bias=False)
        self.expand = nn.Linear(config.head_rank, config.head_width)
        self.shared = nn.Linear(config.head_width, config.w_dim)
        self.offset_in = nn.Linear(config.head_width, config.offset_rank)
        self.offset_out = nn.Linear(config.offset_rank, config.num_ws * config.w_dim)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the map of each stage, for perceptual distances."""
        x, maps = F.pixel_unshuffle(image, PATCH), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def codes(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shared w [N, D] and the offsets of the layers [N, L, D]."""
        x = self.features(image)[-1].flatten(1)
        x = F.leaky_relu(self.expand(self.squeeze(x)), 0.2)
        offsets = self.offset_out(F.leaky_relu(self.offset_in(x), 0.2))
        return self.shared(x), offsets.unflatten(1, (self.config.num_ws, self.config.w_dim))

    def forward(self, image: Tensor) -> Tensor:
        w, offsets = self.codes(image)
        return w.unsqueeze(1) + offsets


def encoder_from_tensors(tensors: Arrays) -> Encoder:
    """Build the encoder that the tensors describe, ready for export. Raises ArchMismatch."""
    config = config_from_tensors(tensors)
    return build(lambda: Encoder(config), tensors, WHAT)


def config_from_tensors(tensors: Arrays) -> EncoderConfig:
    """Read an encoder's sizes from its tensors' shapes. Raises ArchMismatch."""
    stages = [_stage(tensors, i) for i in range(max(1, length_of(tensors, "stages")))]
    widths, ranks = zip(*stages, strict=True)
    head_rank, flat = shape_of(tensors, "squeeze.weight", 2, WHAT)
    w_dim, head_width = shape_of(tensors, "shared.weight", 2, WHAT)
    offsets, offset_rank = shape_of(tensors, "offset_out.weight", 2, WHAT)
    return EncoderConfig(
        resolution=math.isqrt(flat // widths[-1]) * PATCH << len(widths),
        num_ws=offsets // w_dim,
        w_dim=w_dim,
        widths=widths,
        ranks=ranks,
        head_rank=head_rank,
        head_width=head_width,
        offset_rank=offset_rank,
    )


def _stage(tensors: Arrays, stage: int) -> tuple[int, int]:
    """The width of a stage and the rank of its convolutions, 0 where they are plain."""
    layer = f"stages.{stage}.same"
    if f"{layer}.0.weight" not in tensors:
        return shape_of(tensors, f"{layer}.weight", 4, WHAT)[0], 0
    rank = shape_of(tensors, f"{layer}.0.weight", 4, WHAT)[0]
    return shape_of(tensors, f"{layer}.1.weight", 4, WHAT)[0], rank
