"""System 0: a VAE's encoder, a GAN's generator, and the merge of two faces between them.

The published project names no sizes; this is the reading built here. Sizes come from the tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.adain import adain
from mien_export.nets.build import Arrays, length_of, shape_of
from mien_export.nets.repeat import repeat

WHAT = "a VAE-GAN of this project's layout"
SLOPE = 0.2  # of every leaky ReLU
SPREAD_EPS = 1e-5


@dataclass(frozen=True)
class VaeGanConfig:
    """Sizes. widths: channels of the stages, from the picture inwards; each halves the picture."""

    resolution: int = 128
    latent: int = 256
    widths: tuple[int, ...] = (32, 64, 128, 192, 192)
    merge_layers: int = 2


class Tower(nn.Module):
    """image [N, 3, R, R] in [-1, 1] -> maps of the stages; the last is [N, C, R/2^k, R/2^k]."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip((3, *widths), widths, strict=False)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = image, []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), SLOPE)
            maps.append(x)
        return maps


class VaeEncoder(nn.Module):
    """image [N, 3, R, R] in [-1, 1] -> mu, logvar, [N, latent] each."""

    def __init__(self, config: VaeGanConfig) -> None:
        super().__init__()
        self.tower = Tower(config.widths)
        side = config.resolution >> len(config.widths)
        flat = config.widths[-1] * side * side
        self.mu = nn.Linear(flat, config.latent)
        self.logvar = nn.Linear(flat, config.latent)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tower(image)[-1].flatten(1)
        return self.mu(x), self.logvar(x)


class VaeGenerator(nn.Module):
    """Codes of the blocks [N, B, latent] -> image [N, 3, R, R] in [-1, 1].

    A face's own code in every block is its picture; other codes in some of the blocks change what
    those sizes of detail show. Block 0 makes the first map; each further block doubles it,
    convolves, and is normalised and styled by its code (AdaIN, gamma = 1 + what the code says).
    """

    def __init__(self, config: VaeGanConfig) -> None:
        super().__init__()
        widths = tuple(reversed(config.widths))
        self.side = config.resolution >> len(widths)
        self.first = nn.Linear(config.latent, widths[0] * self.side**2)
        pairs = list(zip(widths, (*widths[1:], widths[-1]), strict=True))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in pairs)
        self.styles = nn.ModuleList(nn.Linear(config.latent, 2 * b) for _, b in pairs)
        self.last = nn.Conv2d(widths[-1], 3, 3, 1, 1)

    @property
    def blocks(self) -> int:
        """How many codes it takes."""
        return 1 + len(self.convs)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.first(codes[:, 0]).unflatten(1, (-1, self.side, self.side))
        for i, (conv, style) in enumerate(zip(self.convs, self.styles, strict=True), 1):
            gamma, beta = style(codes[:, i]).chunk(2, 1)
            x = conv(repeat(x, 2))
            x = F.leaky_relu(adain(x, 1 + gamma, beta), SLOPE)
        image: Tensor = self.last(x)
        return torch.tanh(image)


def normalised(z: Tensor) -> Tensor:
    """z [N, D] with mean 0 and deviation 1 over its dimensions."""
    centred = z - z.mean(1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + SPREAD_EPS)


def merge_plain(content: Tensor, pattern: Tensor) -> Tensor:
    """AdaIN of codes [N, D] without parameters: content, at the pattern's mean and deviation."""
    mean = pattern.mean(1, keepdim=True)
    spread = (pattern - mean).square().mean(1, keepdim=True).add(SPREAD_EPS).sqrt()
    return spread * normalised(content) + mean


class Merge(nn.Module):
    """content, pattern [N, D] -> code [N, D]: normalise, re-position by the pattern, each layer.

    h <- h + W leaky_relu((1 + gamma(pattern)) * normalised(h) + beta(pattern)). The residual form
    is ours: with its last layer at zero the merge begins as the content itself.
    """

    def __init__(self, latent: int, layers: int) -> None:
        super().__init__()
        self.styles = nn.ModuleList(nn.Linear(latent, 2 * latent) for _ in range(layers))
        self.mixes = nn.ModuleList(nn.Linear(latent, latent) for _ in range(layers))

    def forward(self, content: Tensor, pattern: Tensor) -> Tensor:
        h = content
        for style, mix in zip(self.styles, self.mixes, strict=True):
            gamma, beta = style(pattern).chunk(2, 1)
            h = h + mix(F.leaky_relu((1 + gamma) * normalised(h) + beta, SLOPE))
        return h


class VaeGan(nn.Module):
    """Encoder, generator and merge, as one checkpoint holds them."""

    def __init__(self, config: VaeGanConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VaeEncoder(config)
        self.generator = VaeGenerator(config)
        self.merge = Merge(config.latent, config.merge_layers)


def config_from_tensors(tensors: Arrays) -> VaeGanConfig:
    """Read the sizes from a checkpoint's shapes. Raises ArchMismatch."""
    widths = tower_widths(tensors, WHAT)
    latent, flat = shape_of(tensors, "encoder.mu.weight", 2, WHAT)
    layers = length_of(tensors, "merge.mixes")
    return VaeGanConfig(pictures_side(flat, widths), latent, widths, layers)


def tower_widths(tensors: Arrays, what: str) -> tuple[int, ...]:
    """Read the widths of `encoder.tower`. Raises ArchMismatch."""
    stages = max(1, length_of(tensors, "encoder.tower.convs"))
    names = [f"encoder.tower.convs.{i}.weight" for i in range(stages)]
    return tuple(shape_of(tensors, name, 4, what)[0] for name in names)


def pictures_side(flat: int, widths: tuple[int, ...]) -> int:
    """Return the side in px of pictures of which a tower leaves `flat` numbers."""
    return math.isqrt(flat // widths[-1]) << len(widths)
