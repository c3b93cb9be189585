"""System 4: a face becomes an identity of 70 numbers; ten controls decide how it is drawn again.

The published project names no sizes; this is the reading built here. Sizes come from the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.adain import adain
from mien_export.nets.build import Arrays, shape_of
from mien_export.nets.repeat import repeat
from mien_export.nets.vaegan import SLOPE, Tower, pictures_side, tower_widths

WHAT = "a look-alike network of this project's layout"


@dataclass(frozen=True)
class LookalikeConfig:
    """Sizes. widths: channels of the stages, from the picture inwards; each halves the picture."""

    resolution: int = 128
    identity: int = 70
    control: int = 10
    widths: tuple[int, ...] = (32, 64, 128, 192, 192)


class IdentityEncoder(nn.Module):
    """image [N, 3, R, R] in [-1, 1] -> identity [N, 70]."""

    def __init__(self, config: LookalikeConfig) -> None:
        super().__init__()
        self.tower = Tower(config.widths)
        side = config.resolution >> len(config.widths)
        self.identity = nn.Linear(config.widths[-1] * side * side, config.identity)

    def forward(self, image: Tensor) -> Tensor:
        identity: Tensor = self.identity(self.tower(image)[-1].flatten(1))
        return identity


class ControlledDecoder(nn.Module):
    """identity [N, 70], control [N, 10] -> image [N, 3, R, R] in [-1, 1].

    The identity is the picture's beginning; the controls enter only where features are normalised:
    AdaIN with gamma = 1 + A c and beta = B c, in each block.
    """

    def __init__(self, config: LookalikeConfig) -> None:
        super().__init__()
        widths = tuple(reversed(config.widths))
        self.side = config.resolution >> len(widths)
        self.first = nn.Linear(config.identity, widths[0] * self.side**2)
        pairs = list(zip(widths, (*widths[1:], widths[-1]), strict=True))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in pairs)
        self.controls = nn.ModuleList(nn.Linear(config.control, 2 * b) for _, b in pairs)
        self.last = nn.Conv2d(widths[-1], 3, 3, 1, 1)

    def forward(self, identity: Tensor, control: Tensor) -> Tensor:
        x = self.first(identity).unflatten(1, (-1, self.side, self.side))
        for conv, style in zip(self.convs, self.controls, strict=True):
            gamma, beta = style(control).chunk(2, 1)
            x = F.leaky_relu(adain(conv(repeat(x, 2)), 1 + gamma, beta), SLOPE)
        image: Tensor = self.last(x)
        return torch.tanh(image)


class Lookalike(nn.Module):
    """Encoder and decoder, as one checkpoint holds them."""

    def __init__(self, config: LookalikeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = IdentityEncoder(config)
        self.decoder = ControlledDecoder(config)


def config_from_tensors(tensors: Arrays) -> LookalikeConfig:
    """Read the sizes from a checkpoint's shapes. Raises ArchMismatch."""
    widths = tower_widths(tensors, WHAT)
    identity, flat = shape_of(tensors, "encoder.identity.weight", 2, WHAT)
    control = shape_of(tensors, "decoder.controls.0.weight", 2, WHAT)[1]
    return LookalikeConfig(pictures_side(flat, widths), identity, control, widths)
