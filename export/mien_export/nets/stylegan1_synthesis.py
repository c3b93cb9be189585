"""From styles to an image: the synthesis network of StyleGAN1.

Karras et al. 2019 (arXiv 1812.04948), section 2. Parameters carry the names of IVRL's checkpoints,
below `g_synthesis`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.adain import adain
from mien_export.nets.layers import per_plane

SLOPE = 0.2  # of every leaky ReLU
HE = math.sqrt(2)  # gain of weights in front of a leaky ReLU
MIRRORED_FROM = 128  # px, of what an up-convolution gives


class Convolution(nn.Module):
    """Convolution with equalised learning rate: weight * gain / sqrt(fan_in)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, gain: float = HE) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.gain = gain

    def kernel(self) -> Tensor:
        return self.weight * (self.gain / math.sqrt(self.weight[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel(), self.bias, padding=self.weight.shape[2] // 2)


class UpConvolution(Convolution):
    """Each pixel four times, 3x3 convolution, blur by [1, 2, 1].

    The first two are one transposed convolution, by the kernel summed over the four shifts. From
    128 px on the networks were trained as that, by a kernel that nobody had mirrored.
    """

    def __init__(self, c_in: int, c_out: int, resolution: int) -> None:
        super().__init__(c_in, c_out, 3)
        self.mirrored = resolution >= MIRRORED_FROM
        taps = torch.tensor([1.0, 2.0, 1.0], device="cpu") / 4
        self.register_buffer("blur", torch.outer(taps, taps)[None, None], persistent=False)
        self.blur: Tensor

    def forward(self, x: Tensor) -> Tensor:  # [N, c_in, H, W] -> [N, c_out, 2H, 2W]
        kernel = self.kernel() if self.mirrored else self.kernel().flip(2, 3)
        x = F.conv_transpose2d(x, _summed(kernel).transpose(0, 1), stride=2, padding=1)
        blur = self.blur.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, blur, self.bias, padding=1, groups=x.shape[1])


def _summed(kernel: Tensor) -> Tensor:  # [c_out, c_in, 3, 3] -> [c_out, c_in, 4, 4]
    """Sum a kernel over its shifts by 0 and 1 in both directions."""
    rows = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))


class Noise(nn.Module):
    """Add a fixed noise picture, weighted in each channel."""

    def __init__(self, channels: int, picture: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("picture", picture, persistent=False)
        self.picture: Tensor  # [R, R]

    def forward(self, x: Tensor, factor: Tensor | float) -> Tensor:
        return x + self.weight[:, None, None] * (self.picture * factor)


class Epilogue(nn.Module):
    """Noise, leaky ReLU, and the style (Eq. 1)."""

    def __init__(self, channels: int, picture: Tensor) -> None:
        super().__init__()
        self.top_epi = nn.ModuleDict({"noise": Noise(channels, picture)})

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | float) -> Tensor:
        x = F.leaky_relu(self.top_epi["noise"](x, noise), SLOPE)
        scale, shift = style.unbind(1)
        return adain(x, scale + 1, shift)


class FirstBlock(nn.Module):
    """The learned constant at 4 px and a convolution, each with its epilogue."""

    def __init__(self, width: int, pictures: Sequence[Tensor]) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.ones(1, width, 4, 4))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epi1 = Epilogue(width, pictures[0])
        self.conv = Convolution(width, width, 3)
        self.epi2 = Epilogue(width, pictures[1])

    def forward(self, first: Tensor, second: Tensor, noise: Tensor | float) -> Tensor:
        x = (self.const + per_plane(self.bias[None])).expand(first.shape[0], -1, -1, -1)
        x = self.epi1(x, first, noise)
        y: Tensor = self.epi2(self.conv(x), second, noise)
        return y


class Block(nn.Module):
    """Twice the size, then a convolution, each with its epilogue."""

    def __init__(self, c_in: int, c_out: int, resolution: int, pictures: Sequence[Tensor]) -> None:
        super().__init__()
        self.conv0_up = UpConvolution(c_in, c_out, resolution)
        self.epi1 = Epilogue(c_out, pictures[0])
        self.conv1 = Convolution(c_out, c_out, 3)
        self.epi2 = Epilogue(c_out, pictures[1])

    def forward(self, x: Tensor, first: Tensor, second: Tensor, noise: Tensor | float) -> Tensor:
        x = self.epi1(self.conv0_up(x), first, noise)
        y: Tensor = self.epi2(self.conv1(x), second, noise)
        return y


class Synthesis(nn.Module):
    """styles [N, 2, S] -> image [N, 3, R, R], RGB, about [-1, 1].

    widths: channels of the block at 4, 8, 16, ... px. channels: those that each layer's style
    scales and shifts, S in all. pictures: the noise, [R, R] for each layer.
    """

    def __init__(
        self, widths: Sequence[int], channels: Sequence[int], pictures: Sequence[Tensor]
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.blocks = nn.ModuleDict({"4x4": FirstBlock(widths[0], pictures[:2])})
        for i, (c_in, c_out) in enumerate(pairwise(widths), 1):
            resolution = 4 << i
            block = Block(c_in, c_out, resolution, pictures[2 * i : 2 * i + 2])
            self.blocks[f"{resolution}x{resolution}"] = block
        self.torgb = Convolution(widths[-1], 3, 1, gain=1)

    def forward(
        self,
        styles: Tensor,  # [N, 2, S]
        noise: Tensor | float = 1.0,  # factor of the noise pictures
    ) -> Tensor:
        style = torch.split(styles, self.channels, 2)
        first, *blocks = self.blocks.values()
        x = first(style[0], style[1], noise)
        for i, block in enumerate(blocks, 1):
            x = block(x, style[2 * i], style[2 * i + 1], noise)
        image: Tensor = self.torgb(x)
        return image
