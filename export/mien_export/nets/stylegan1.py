"""StyleGAN1's generator (Karras et al. 2019, arXiv 1812.04948).

Parameters carry the names and the values of IVRL's checkpoints, which are lernapparat's with the
styles in a network of their own: `g_mapping.dense0.weight`, `g_style.style_layers.8x8_0.lin.bias`,
`g_synthesis.blocks.8x8.conv0_up.weight`, ... Sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_export.nets.adain import adain
from mien_export.nets.build import build, shape_of
from mien_export.nets.layers import EqualLinear, per_plane

WHAT = "a StyleGAN1"
MAPPING_LR = 0.01
SLOPE = 0.2
HE = math.sqrt(2)  # gain of weights in front of a leaky ReLU
MIRRORED_FROM = 128  # px
LAYERS = (0, 1)  # of a block
MAX_BLOCKS = 9  # 4 to 1024 px


@dataclass(frozen=True)
class Config:
    """The sizes of a generator. widths: channels of the block at 4, 8, 16, ... px."""

    widths: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8

    @property
    def resolutions(self) -> list[int]:
        return [4 << i for i in range(len(self.widths))]

    @property
    def style_channels(self) -> list[int]:
        """Channels that each layer's style scales and shifts."""
        return [width for width in self.widths for _ in LAYERS]

    @property
    def num_ws(self) -> int:
        return len(self.style_channels)


class Dense(EqualLinear):
    """Linear layer whose weights have the gain of a leaky ReLU, and its bias has not."""

    def forward(self, x: Tensor) -> Tensor:
        gain = HE * self.lr / math.sqrt(self.weight.shape[1])
        return F.leaky_relu(F.linear(x, self.weight * gain, self.bias * self.lr), SLOPE)


class MappingNetwork(nn.Module):
    """z [N, z_dim] -> w [N, w_dim]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.num_layers = config.mapping_layers
        for i in range(self.num_layers):
            fan_in = config.z_dim if i == 0 else config.w_dim
            setattr(self, f"dense{i}", Dense(fan_in, config.w_dim, lr=MAPPING_LR))

    def forward(self, z: Tensor) -> Tensor:
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for i in range(self.num_layers):
            w = getattr(self, f"dense{i}")(w)
        return w


class Truncation(nn.Module):
    """w [N, w_dim], psi [num_ws] -> ws [N, num_ws, w_dim], moved towards the mean (appendix B)."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("avg_latent", torch.zeros(w_dim))
        self.avg_latent: Tensor

    def forward(self, w: Tensor, psi: Tensor) -> Tensor:
        return self.avg_latent + psi[None, :, None] * (w - self.avg_latent)[:, None, :]


class Style(nn.Module):
    """w [N, w_dim] -> scale and shift of a layer's channels, [N, 2, C]."""

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        self.lin = EqualLinear(w_dim, 2 * channels)

    def forward(self, w: Tensor) -> Tensor:
        y: Tensor = self.lin(w)
        return y.reshape(-1, 2, y.shape[1] // 2)


class StyleNetwork(nn.Module):
    """ws [N, num_ws, w_dim] -> styles of all layers, [N, 2, sum of style_channels].

    [:, 0] is what scales a channel, less 1; [:, 1] what is added to it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.style_layers = nn.ModuleDict(
            {
                f"{resolution}x{resolution}_{i}": Style(config.w_dim, width)
                for resolution, width in zip(config.resolutions, config.widths, strict=True)
                for i in LAYERS
            }
        )

    def forward(self, ws: Tensor) -> Tensor:
        layers = zip(self.style_layers.values(), ws.unbind(1), strict=True)
        return torch.cat([style(w) for style, w in layers], 2)


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
    """styles [N, 2, sum of style_channels] -> image [N, 3, H, W], RGB, about [-1, 1].

    pictures: the noise, [R, R] for each layer.
    """

    def __init__(self, config: Config, pictures: Sequence[Tensor]) -> None:
        super().__init__()
        self.channels = config.style_channels
        self.blocks = nn.ModuleDict({"4x4": FirstBlock(config.widths[0], pictures[:2])})
        widths = zip(config.widths, config.widths[1:], strict=False)
        for i, (c_in, c_out) in enumerate(widths, 1):
            resolution = 4 << i
            block = Block(c_in, c_out, resolution, pictures[2 * i : 2 * i + 2])
            self.blocks[f"{resolution}x{resolution}"] = block
        self.torgb = Convolution(config.widths[-1], 3, 1, gain=1)

    def forward(
        self,
        styles: Tensor,  # [N, 2, sum of style_channels]
        noise: Tensor | float = 1.0,  # factor of the noise pictures
    ) -> Tensor:
        style = torch.split(styles, self.channels, 2)
        first, *blocks = self.blocks.values()
        x = first(style[0], style[1], noise)
        for i, block in enumerate(blocks, 1):
            x = block(x, style[2 * i], style[2 * i + 1], noise)
        image: Tensor = self.torgb(x)
        return image


class Generator(nn.Module):
    """ws [N, num_ws, w_dim], factor of the noise -> image; and what makes the ws."""

    def __init__(self, config: Config, pictures: Sequence[Tensor]) -> None:
        super().__init__()
        self.config = config
        self.g_mapping = MappingNetwork(config)
        self.truncation = Truncation(config.w_dim)
        self.g_style = StyleNetwork(config)
        self.g_synthesis = Synthesis(config, pictures)

    def forward(self, ws: Tensor, noise: Tensor | float = 1.0) -> Tensor:
        image: Tensor = self.g_synthesis(self.g_style(ws), noise)
        return image


def drawn_noise(config: Config, seed: int) -> list[Tensor]:
    """Draw the noise picture of each layer, [R, R], by numpy's RandomState(seed)."""
    random = np.random.RandomState(seed)
    return [
        torch.from_numpy(random.randn(resolution, resolution).astype(np.float32))
        for resolution in config.resolutions
        for _ in LAYERS
    ]


def config_from_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> Config:
    """Read a generator's sizes from its tensors' shapes. Raises ArchMismatch."""
    w_dim, z_dim = shape_of(tensors, "g_mapping.dense0.weight", 2, WHAT)
    names = ["4x4.conv", *(f"{4 << i}x{4 << i}.conv1" for i in range(1, MAX_BLOCKS))]
    kernels = [f"g_synthesis.blocks.{name}.weight" for name in names]
    present = [name for i, name in enumerate(kernels) if i == 0 or name in tensors]
    widths = [shape_of(tensors, name, 4, WHAT)[0] for name in present]
    layers = sum(f"g_mapping.dense{i}.weight" in tensors for i in range(64))
    return Config(tuple(widths), z_dim, w_dim, layers)


def generator_from_tensors(
    tensors: Mapping[str, NDArray[np.float32]], pictures: Sequence[Tensor]
) -> Generator:
    """Build a generator from its state and the noise of its layers. Raises ArchMismatch."""
    config = config_from_tensors(tensors)
    return build(lambda: Generator(config, pictures), tensors, WHAT)
