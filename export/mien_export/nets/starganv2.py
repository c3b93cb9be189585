"""The generator of StarGAN v2 (Choi et al. 2020, arXiv 1912.01865).

Parameters carry the names and the values of clovaai's checkpoints: `encode.0.conv1.weight`, ...
Sizes come from the tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_export.nets.adain import adain
from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.repeat import repeat
from mien_export.nets.separable import bilinear

SLOPE = 0.2  # of every leaky ReLU
GAIN = 1 / math.sqrt(2)  # of the sum of two branches, so that it has their variance
BOTTLENECK = 2  # blocks of the generator's halves that keep the resolution
# Features of these sides, px, skip to the decoder through the high-pass filter. The first mask
# covers the smallest of them, the second the others.
MASK_OF_SKIP = {32: 0, 64: 1, 128: 1}
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
SHORTCUT = re.compile(r"decode\.\d+\.conv1x1\.weight")


@dataclass(frozen=True)
class Config:
    """The sizes of a generator.

    widths: channels of the features at full size and behind each block of the encoder.
    skip: high frequencies of the source go round the bottleneck, under masks (w_hpf > 0).
    """

    widths: tuple[int, ...]
    style_dim: int
    skip: bool

    @property
    def resolution(self) -> int:
        return (8 if self.skip else 16) << (len(self.widths) - 1 - BOTTLENECK)


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        batch = x.shape[0]
        return adain(x, self.weight.expand(batch, -1), self.bias.expand(batch, -1))


class Adain(nn.Module):
    """Adaptive instance normalisation; a style predicts by how much the scale differs from 1."""

    def __init__(self, style_dim: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:  # [N, C, H, W], [N, style_dim]
        gamma, beta = self.fc(style).chunk(2, 1)
        return adain(x, 1 + gamma, beta)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; `down` halves the resolution by averages."""

    def __init__(self, c_in: int, c_out: int, *, normalise: bool, down: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_in, 3, padding=1)
        self.conv2 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm1 = InstanceNorm(c_in) if normalise else nn.Identity()
        self.norm2 = InstanceNorm(c_in) if normalise else nn.Identity()
        self.conv1x1 = shortcut(c_in, c_out)
        self.resize = nn.AvgPool2d(2) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        past: Tensor = self.resize(self.conv1x1(x))
        x = self.resize(self.conv1(F.leaky_relu(self.norm1(x), SLOPE)))
        x = self.conv2(F.leaky_relu(self.norm2(x), SLOPE))
        return (past + x) * GAIN


class StyledBlock(nn.Module):
    """Two convolutions behind AdaIN; `up` doubles the resolution by repetition.

    It has a shortcut where the generator has no high-pass skip.
    """

    def __init__(self, c_in: int, c_out: int, config: Config, *, up: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.norm1 = Adain(config.style_dim, c_in)
        self.norm2 = Adain(config.style_dim, c_out)
        self.conv1x1 = None if config.skip else shortcut(c_in, c_out)
        self.times = 2 if up else 1

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # A convolution of one pixel commutes with repetition, and costs a quarter before it.
        past = None if self.conv1x1 is None else repeated(self.conv1x1(x), self.times)
        x = self.conv1(repeated(F.leaky_relu(self.norm1(x, style), SLOPE), self.times))
        x = self.conv2(F.leaky_relu(self.norm2(x, style), SLOPE))
        return x if past is None else (past + x) * GAIN


def repeated(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else repeat(x, times)


def shortcut(c_in: int, c_out: int) -> nn.Module:
    return nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1, bias=False)


class HighPass(nn.Module):
    """A 3x3 filter, the same for every channel: the Laplacian over w_hpf."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(3, 3))
        self.filter: Tensor

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        channels = x.shape[1]
        return F.conv2d(x, self.filter.expand(channels, 1, 3, 3), padding=1, groups=channels)

    @property
    def weight(self) -> float:
        """w_hpf: what the Laplacian was divided by."""
        return 8 / float(self.filter[1, 1])


class Generator(nn.Module):
    """image [N, 3, R, R], style [N, style_dim] -> image [N, 3, R, R], RGB, about [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        resampled = len(widths) - 1 - BOTTLENECK
        # What enters an encoder's block, and leaves the decoder's opposite one, px.
        self.sides = [config.resolution >> min(i, resampled) for i in range(len(widths) - 1)]
        self.from_rgb = nn.Conv2d(3, widths[0], 3, padding=1)
        self.encode, self.decode = nn.ModuleList(), nn.ModuleList()
        for i, (outer, inner) in enumerate(pairwise(widths)):
            is_resampled = i < resampled
            self.encode.append(ResidualBlock(outer, inner, normalise=True, down=is_resampled))
            self.decode.insert(0, StyledBlock(inner, outer, config, up=is_resampled))
        self.to_rgb = nn.Sequential(
            InstanceNorm(widths[0]), nn.LeakyReLU(SLOPE), nn.Conv2d(widths[0], 3, 1)
        )
        self.hpf = HighPass() if config.skip else None
        self.fit = nn.ModuleDict(
            {str(side): bilinear(config.resolution, side) for side in MASK_OF_SKIP}
        )

    def forward(
        self,
        image: Tensor,
        style: Tensor,
        masks: Sequence[Tensor] = (),  # two [N, 1, R, R] where there is a skip
    ) -> Tensor:
        kept: dict[int, Tensor] = {}
        x = self.from_rgb(image)
        for side, block in zip(self.sides, self.encode, strict=True):
            kept[side] = x
            x = block(x)
        for side, block in zip(reversed(self.sides), self.decode, strict=True):
            x = block(x, style)
            if self.hpf is not None and side in MASK_OF_SKIP:
                mask = self.fit[str(side)](masks[MASK_OF_SKIP[side]])
                x = x + self.hpf(mask * kept[side])
        rgb: Tensor = self.to_rgb(x)
        return rgb


def has_skip(generator: Arrays, style_encoder: Arrays) -> bool:
    """Whether the generator has the high-pass skip: it goes one block deeper then.

    Raises ArchMismatch where the depths of the two networks fit neither way.
    """
    blocks, halvings = length_of(generator, "encode"), length_of(style_encoder, "shared") - 1
    if blocks - halvings not in (0, 1) or blocks <= BOTTLENECK:
        raise ArchMismatch(
            f"the generator has {blocks} blocks and the style encoder {halvings}, expected as many "
            "or one more",
            hint="Is it a StarGAN v2 of clovaai?",
        )
    if "hpf.filter" in generator and blocks == halvings:
        raise ArchMismatch(
            f"the generator has a high-pass filter and {blocks} blocks, expected {blocks + 1}",
            hint="Is it a StarGAN v2 of clovaai?",
        )
    return blocks > halvings


def generator_from_tensors(tensors: Arrays, *, skip: bool) -> Generator:
    """Build the generator of a checkpoint. A missing high-pass filter is that of w_hpf 1.

    Raises ArchMismatch.
    """
    what = "the generator of a StarGAN v2"
    layers = ["from_rgb", *(f"encode.{i}.conv2" for i in range(length_of(tensors, "encode")))]
    widths = [shape_of(tensors, f"{layer}.weight", 4, what)[0] for layer in layers]
    style_dim = shape_of(tensors, "decode.0.norm1.fc.weight", 2, what)[1]
    config = Config(tuple(widths), style_dim, skip)
    if skip:
        # Files hold the shortcuts of the decoder, which such a generator goes without.
        kept = {name: x for name, x in tensors.items() if not SHORTCUT.fullmatch(name)}
        tensors = {"hpf.filter": LAPLACIAN, **kept}
    generator = build(lambda: Generator(config), tensors, what)
    if generator.hpf is not None:
        _check_filter(generator.hpf.filter.numpy())
    return generator


def _check_filter(kernel: NDArray[np.float32]) -> None:
    middle = float(kernel[1, 1])
    if middle <= 0 or not np.allclose(kernel, LAPLACIAN * (middle / 8), rtol=1e-4, atol=0):
        raise ArchMismatch(
            f"hpf.filter is not the Laplacian over w_hpf: {middle:g} in its middle",
            hint="Is it a StarGAN v2 of clovaai?",
        )
