"""StyleGAN2's generator (Karras et al. 2020, arXiv 1912.04958), skip architecture.

Parameters carry the names and the values of NVlabs' stylegan2-ada-pytorch checkpoints:
`mapping.fc0.weight`, `synthesis.b8.conv0.affine.weight`, ... Sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien_export.nets.layers import (
    EqualLinear,
    fir_filter,
    leaky_relu,
    modulated_convolution,
    normalise_second_moment,
    upsample,
)

MAPPING_LR = 0.01


@dataclass(frozen=True)
class Config:
    """The sizes of a generator.

    widths: channels of the block at 4, 8, 16, ... px.
    conv_clamp: activations are clamped to +-conv_clamp, as mixed-precision checkpoints were.
    """

    widths: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    conv_clamp: float | None = None

    @property
    def resolution(self) -> int:
        return int(4 * 2 ** (len(self.widths) - 1))

    @property
    def num_ws(self) -> int:
        return 2 * len(self.widths)  # 2 * log2(resolution) - 2


class MappingNetwork(nn.Module):
    """z [N, z_dim] -> w [N, w_dim]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.num_layers = config.mapping_layers
        for i in range(self.num_layers):
            fan_in = config.z_dim if i == 0 else config.w_dim
            setattr(self, f"fc{i}", EqualLinear(fan_in, config.w_dim, lr=MAPPING_LR))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.w_avg: Tensor

    def forward(self, z: Tensor) -> Tensor:
        w = normalise_second_moment(z)
        for i in range(self.num_layers):
            w = leaky_relu(getattr(self, f"fc{i}")(w))
        return w

    def truncated(
        self,
        w: Tensor,  # [N, w_dim]
        psi: Tensor,  # [num_ws]
    ) -> Tensor:  # [N, num_ws, w_dim]
        """Move w towards the mean, layer by layer (Karras et al. 2019, appendix B)."""
        return self.w_avg + psi[None, :, None] * (w - self.w_avg)[:, None, :]


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    def __init__(self, c_in: int, c_out: int, resolution: int, config: Config, *, up: bool) -> None:
        super().__init__()
        self.affine = EqualLinear(config.w_dim, c_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(c_out, c_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", fir_filter())
        self.noise_const: Tensor
        self.resample_filter: Tensor
        self.up, self.clamp, self.noisy = up, config.conv_clamp, True

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | float) -> Tensor:
        fir = self.resample_filter if self.up else None
        x = modulated_convolution(x, self.weight, self.affine(w), up_fir=fir)
        if self.noisy:
            x = x + (self.noise_const * self.noise_strength * noise).to(x.dtype)
        return self.clamped(leaky_relu(x + self.bias[:, None, None].to(x.dtype)))

    def clamped(self, x: Tensor) -> Tensor:
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the picture's channels, not demodulated."""

    def __init__(self, c_in: int, config: Config) -> None:
        super().__init__()
        self.affine = EqualLinear(config.w_dim, c_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, c_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp = config.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * (1 / math.sqrt(self.weight.shape[1]))
        rgb = modulated_convolution(x, self.weight, style, demodulate=False)
        rgb = rgb.to(w.dtype) + self.bias[:, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers at one resolution; the first block starts from a learned constant."""

    def __init__(self, c_in: int | None, c_out: int, resolution: int, config: Config) -> None:
        super().__init__()
        if c_in is None:
            self.const = nn.Parameter(torch.randn(c_out, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(c_in, c_out, resolution, config, up=True)
        self.conv1 = SynthesisLayer(c_out, c_out, resolution, config, up=False)
        self.torgb = ToRGB(c_out, config)
        self.register_buffer("resample_filter", fir_filter())
        self.resample_filter: Tensor


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] -> image [N, 3, H, W], RGB, about [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.resolutions = [4 * 2**i for i in range(len(config.widths))]
        c_in: int | None = None
        for resolution, width in zip(self.resolutions, config.widths, strict=True):
            setattr(self, f"b{resolution}", Block(c_in, width, resolution, config))
            c_in = width
        self.num_ws = config.num_ws

    def forward(
        self,
        ws: Tensor,  # [N, num_ws, w_dim]
        noise: Tensor | float = 1.0,  # factor of the stored noise: 1 "const", 0 "none"
        dtype: torch.dtype | None = None,  # of the convolutions; None is that of ws
    ) -> Tensor:
        # Unbound once: the gradient of a slice would be a scatter, of an unbinding it is a stack.
        w = ws.unbind(1)
        first = self._block(4)
        x = first.const.to(dtype or ws.dtype).expand(ws.shape[0], -1, -1, -1)
        x = first.conv1(x, w[0], noise)
        image: Tensor = first.torgb(x, w[1])
        for i, resolution in enumerate(self.resolutions[1:]):
            # A block's toRGB shares its w with the next block's first layer.
            block = self._block(resolution)
            x = block.conv0(x, w[2 * i + 1], noise)
            x = block.conv1(x, w[2 * i + 2], noise)
            rgb: Tensor = block.torgb(x, w[2 * i + 3])
            image = upsample(image, block.resample_filter) + rgb
        return image

    def _block(self, resolution: int) -> Block:
        block = getattr(self, f"b{resolution}")
        assert isinstance(block, Block)
        return block


class Generator(nn.Module):
    """The mapping and the synthesis network, with the mean w between them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = Synthesis(config)

    def drop_silent_noise(self) -> None:
        """Leave out the noise of layers whose strength was trained, or kept, at exactly zero."""
        for layer in self.modules():
            if isinstance(layer, SynthesisLayer):
                layer.noisy = bool(layer.noise_strength.item())


def config_from_tensors(tensors: Mapping[str, Tensor], conv_clamp: float | None = None) -> Config:
    """Read a generator's sizes from its tensors' shapes. Raises KeyError where one is missing."""
    widths = []
    resolution = 4
    while f"synthesis.b{resolution}.conv1.weight" in tensors:
        widths.append(tensors[f"synthesis.b{resolution}.conv1.weight"].shape[0])
        resolution *= 2
    layers = sum(f"mapping.fc{i}.weight" in tensors for i in range(64))
    w_dim, z_dim = tensors["mapping.fc0.weight"].shape
    return Config(tuple(widths), z_dim, w_dim, layers, conv_clamp)
