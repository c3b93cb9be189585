"""StyleGAN1's generator (Karras et al. 2019, arXiv 1812.04948).

Parameters carry the names and the values of IVRL's checkpoints, which are lernapparat's with the
styles in a network of their own: `g_mapping.dense0.weight`, `g_style.style_layers.8x8_0.lin.bias`,
`g_synthesis.blocks.8x8.conv0_up.weight`, ... Sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.build import Arrays, build, shape_of
from mien_export.nets.layers import EqualLinear, normalise_second_moment
from mien_export.nets.stylegan1_synthesis import HE, SLOPE, Synthesis

WHAT = "a StyleGAN1"
MAPPING_LR = 0.01
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
    """Linear layer and leaky ReLU, whose gain is in the weights; the bias goes without it."""

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
        w = normalise_second_moment(z)
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


class Generator(nn.Module):
    """ws [N, num_ws, w_dim], factor of the noise -> image; and what makes the ws."""

    def __init__(self, config: Config, pictures: Sequence[Tensor]) -> None:
        super().__init__()
        self.config = config
        self.g_mapping = MappingNetwork(config)
        self.truncation = Truncation(config.w_dim)
        self.g_style = StyleNetwork(config)
        self.g_synthesis = Synthesis(config.widths, config.style_channels, pictures)

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


def config_from_tensors(tensors: Arrays) -> Config:
    """Read a generator's sizes from its tensors' shapes. Raises ArchMismatch."""
    w_dim, z_dim = shape_of(tensors, "g_mapping.dense0.weight", 2, WHAT)
    names = ["4x4.conv", *(f"{4 << i}x{4 << i}.conv1" for i in range(1, MAX_BLOCKS))]
    kernels = [f"g_synthesis.blocks.{name}.weight" for name in names]
    present = [name for i, name in enumerate(kernels) if i == 0 or name in tensors]
    widths = [shape_of(tensors, name, 4, WHAT)[0] for name in present]
    layers = sum(f"g_mapping.dense{i}.weight" in tensors for i in range(64))
    return Config(tuple(widths), z_dim, w_dim, layers)


def generator_from_tensors(tensors: Arrays, pictures: Sequence[Tensor]) -> Generator:
    """Build a generator from its state and the noise of its layers. Raises ArchMismatch."""
    config = config_from_tensors(tensors)
    return build(lambda: Generator(config, pictures), tensors, WHAT)
