"""AdaIN style transfer: an encoder's map at the mean and deviation of another, and a decoder.

Huang and Belongie 2017 (arXiv 1703.06868). The decoder mirrors the encoder: stages from the deepest
to the picture, each of 3x3 convolutions with mirrored edges, doubled in size between them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.adain import EPS, adain
from mien_export.nets.build import Arrays, length_of, shape_of
from mien_export.nets.repeat import repeat
from mien_export.nets.vgg import Mirrored, Vgg

WHAT = "a decoder of this project's layout"


class StyleDecoder(nn.Module):
    """map [N, C, H, W] of an encoder -> image [N, 3, s H, s W], about [-1, 1].

    widths: of each stage the channels of its convolutions, those that go in first.
    """

    def __init__(self, widths: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(Mirrored(a, b) for a, b in pairwise(stage)) for stage in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage, convolutions in enumerate(self.stages):
            assert isinstance(convolutions, nn.ModuleList)
            x = x if stage == 0 else repeat(x, 2)
            for i, convolution in enumerate(convolutions):
                x = convolution(x)
                is_last = stage == len(self.stages) - 1 and i == len(convolutions) - 1
                x = x if is_last else F.relu(x)
        return x


def decoder_widths(tensors: Arrays) -> tuple[tuple[int, ...], ...]:
    """Read a decoder's sizes from its shapes. Raises ArchMismatch."""
    stages = []
    for s in range(length_of(tensors, "stages")):
        count = length_of(tensors, f"stages.{s}")
        shapes = [shape_of(tensors, f"stages.{s}.{i}.weight", 4, WHAT) for i in range(count)]
        stages.append((shapes[0][1], *(shape[0] for shape in shapes)))
    return tuple(stages)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each plane of x [N, C, H, W], [N, C] each: a style."""
    mean = x.mean((2, 3))
    centred = x - mean.unsqueeze(2).unsqueeze(3)
    return mean, torch.sqrt(centred.square().mean((2, 3)) + EPS)


class StyleTransfer(nn.Module):
    """Encoder and decoder. The map is reluS_1 of the encoder's last stage."""

    def __init__(self, encoder: Vgg, decoder: StyleDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, image: Tensor) -> Tensor:
        code: Tensor = self.encoder(image)[-1][0]
        return code

    def style(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return statistics(self.encode(image))

    def forward(self, image: Tensor, mean: Tensor, deviation: Tensor, alpha: Tensor) -> Tensor:
        """Draw image in a style; alpha [1] between 0, the image's own map, and 1 (Eq. 14)."""
        code = self.encode(image)
        mixed = alpha * adain(code, deviation, mean) + (1 - alpha) * code
        drawn: Tensor = self.decoder(mixed)
        return drawn
