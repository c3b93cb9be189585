"""StyleGAN2's generator (Karras et al. 2020, arXiv 1912.04958), all three architectures.

Parameters carry the names and the values of NVlabs' stylegan2-ada-pytorch checkpoints:
`mapping.fc0.weight`, `synthesis.b8.conv0.affine.weight`, ... Sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.checkpoints.layout import Architecture
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
    architecture: how blocks are joined, see BLOCKS. label_dim: classes; 0 is unconditional.
    """

    widths: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    conv_clamp: float | None = None
    architecture: Architecture = "skip"
    label_dim: int = 0

    @property
    def resolution(self) -> int:
        return int(4 * 2 ** (len(self.widths) - 1))

    @property
    def num_ws(self) -> int:
        return 2 * len(self.widths)  # 2 * log2(resolution) - 2


class DenseLayers(nn.Module):
    """What every mapping network ends in: dense layers to w, and the mean w."""

    def __init__(self, fan_in: int, config: Config) -> None:
        super().__init__()
        self.num_layers = config.mapping_layers
        for i in range(self.num_layers):
            setattr(self, f"fc{i}", EqualLinear(fan_in, config.w_dim, lr=MAPPING_LR))
            fan_in = config.w_dim
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.w_avg: Tensor

    def dense(self, x: Tensor) -> Tensor:  # [N, fan_in] -> [N, w_dim]
        for i in range(self.num_layers):
            x = leaky_relu(getattr(self, f"fc{i}")(x))
        return x

    def truncated(
        self,
        w: Tensor,  # [N, w_dim]
        psi: Tensor,  # [num_ws]
    ) -> Tensor:  # [N, num_ws, w_dim]
        """Move w towards the mean, layer by layer (Karras et al. 2019, appendix B)."""
        return self.w_avg + psi[None, :, None] * (w - self.w_avg)[:, None, :]


class MappingNetwork(DenseLayers):
    """z [N, z_dim] -> w [N, w_dim]."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.z_dim, config)

    def forward(self, z: Tensor) -> Tensor:
        return self.dense(normalise_second_moment(z))


class ConditionalMapping(DenseLayers):
    """z [N, z_dim], label [N, label_dim], one-hot -> w [N, w_dim].

    The mean w is the file's, one for all classes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config.z_dim + config.w_dim, config)
        self.embed = EqualLinear(config.label_dim, config.w_dim)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        parts = (normalise_second_moment(x) for x in (z, self.embed(label)))
        return self.dense(torch.cat(list(parts), 1))


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

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | float) -> Tensor:
        fir = self.resample_filter if self.up else None
        x = modulated_convolution(x, self.weight, style, up_fir=fir)
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

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = style * (1 / math.sqrt(self.weight.shape[1]))
        rgb = modulated_convolution(x, self.weight, scale, demodulate=False)
        rgb = rgb.to(style.dtype) + self.bias[:, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers at one resolution, one after another; the last block alone paints.

    The first block starts from a learned constant.
    """

    def __init__(
        self, c_in: int | None, c_out: int, resolution: int, config: Config, *, last: bool
    ) -> None:
        super().__init__()
        if c_in is None:
            self.const = nn.Parameter(torch.randn(c_out, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(c_in, c_out, resolution, config, up=True)
        self.conv1 = SynthesisLayer(c_out, c_out, resolution, config, up=False)
        self.torgb = ToRGB(c_out, config) if self.paints(last) else None
        self.register_buffer("resample_filter", fir_filter())
        self.resample_filter: Tensor

    def paints(self, last: bool) -> bool:
        return last

    def doubled(self, x: Tensor, s0: Tensor, s1: Tensor, noise: Tensor | float) -> Tensor:
        """Features [N, c_in, H, W] -> [N, c_out, 2H, 2W]; s0, s1 are the layers' styles."""
        x = self.conv0(x, s0, noise)
        x = self.conv1(x, s1, noise)
        return x

    def painted(self, image: Tensor | None, x: Tensor, styles: Iterator[Tensor]) -> Tensor | None:
        """Add what this block paints of x to the image, which comes at half the size."""
        if self.torgb is None:
            return image
        rgb: Tensor = self.torgb(x, next(styles))
        return rgb if image is None else upsample(image, self.resample_filter) + rgb


class SkipBlock(Block):
    """Every block paints (Karras et al. 2020, figure 7b)."""

    def paints(self, last: bool) -> bool:
        return True


class Shortcut(nn.Module):
    """1x1 convolution and up-sampling, linear."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, 1, 1))
        self.register_buffer("resample_filter", fir_filter())
        self.resample_filter: Tensor

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight * (1 / math.sqrt(self.weight.shape[1]))
        return upsample(F.conv2d(x, kernel.to(x.dtype)), self.resample_filter)


class ResnetBlock(Block):
    """Layers add to what enters them (Karras et al. 2020, figure 7c)."""

    def __init__(
        self, c_in: int | None, c_out: int, resolution: int, config: Config, *, last: bool
    ) -> None:
        super().__init__(c_in, c_out, resolution, config, last=last)
        if c_in is not None:
            self.skip = Shortcut(c_in, c_out)

    def doubled(self, x: Tensor, s0: Tensor, s1: Tensor, noise: Tensor | float) -> Tensor:
        # Each of the two has the gain sqrt(1/2), behind its clamp: the sum keeps the variance.
        shortcut: Tensor = self.skip(x)
        return (shortcut + super().doubled(x, s0, s1, noise)) * math.sqrt(0.5)


BLOCKS: dict[Architecture, type[Block]] = {"orig": Block, "skip": SkipBlock, "resnet": ResnetBlock}


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] -> image [N, 3, H, W], RGB, about [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.resolutions = [4 * 2**i for i in range(len(config.widths))]
        make = BLOCKS[config.architecture]
        c_in: int | None = None
        for resolution, width in zip(self.resolutions, config.widths, strict=True):
            last = resolution == config.resolution
            setattr(self, f"b{resolution}", make(c_in, width, resolution, config, last=last))
            c_in = width
        self.num_ws = config.num_ws

    def forward(
        self,
        ws: Tensor,  # [N, num_ws, w_dim]
        noise: Tensor | float = 1.0,  # factor of the stored noise: 1 "const", 0 "none"
        dtype: torch.dtype | None = None,  # of the convolutions; None is that of ws
    ) -> Tensor:
        return self.drawn(self.styles(ws), noise, dtype)

    def styles(self, ws: Tensor) -> list[Tensor]:  # of [N, C]
        """Return what scales the channels that enter each convolution, toRGBs last."""
        # Unbound once: the gradient of a slice would be a scatter, of an unbinding it is a stack.
        w = ws.unbind(1)
        # Convolution i takes w i; a block's toRGB shares its w with the next block's first layer.
        blocks = enumerate(map(self._block, self.resolutions))
        painters = [w[2 * i + 1] for i, block in blocks if block.torgb is not None]
        sources = [*w[:-1], *painters]
        return [x.affine(source) for x, source in zip(self.modulated(), sources, strict=True)]

    def drawn(
        self,
        styles: Sequence[Tensor],  # as `styles` gives them
        noise: Tensor | float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Draw the image of styles."""
        count = len(self.layers())
        style, colours = styles[:count], iter(styles[count:])
        first = self._block(4)
        x = first.const.to(dtype or styles[0].dtype).expand(styles[0].shape[0], -1, -1, -1)
        x = first.conv1(x, style[0], noise)
        image = first.painted(None, x, colours)
        for i, resolution in enumerate(self.resolutions[1:]):
            block = self._block(resolution)
            x = block.doubled(x, style[2 * i + 1], style[2 * i + 2], noise)
            image = block.painted(image, x, colours)
        assert image is not None  # the last block paints
        return image

    def layers(self) -> list[SynthesisLayer]:
        """Return the convolutions, in order."""
        first, *blocks = map(self._block, self.resolutions)
        return [first.conv1, *(layer for b in blocks for layer in (b.conv0, b.conv1))]

    @property
    def style_channels(self) -> list[int]:
        """Channels that enter each convolution."""
        return [layer.weight.shape[1] for layer in self.layers()]

    def modulated(self) -> list[SynthesisLayer | ToRGB]:
        """Return all that styles scale, in the order of `styles`."""
        painters = [self._block(resolution).torgb for resolution in self.resolutions]
        return [*self.layers(), *(painter for painter in painters if painter is not None)]

    def _block(self, resolution: int) -> Block:
        block = getattr(self, f"b{resolution}")
        assert isinstance(block, Block)
        return block


class Generator(nn.Module):
    """The mapping and the synthesis network, with the mean w between them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        mapping = ConditionalMapping if config.label_dim else MappingNetwork
        self.mapping: ConditionalMapping | MappingNetwork = mapping(config)
        self.synthesis = Synthesis(config)

    def drop_silent_noise(self) -> None:
        """Leave out the noise of layers whose strength was trained, or kept, at exactly zero."""
        for layer in self.modules():
            if isinstance(layer, SynthesisLayer):
                layer.noisy = bool(layer.noise_strength.item())


def config_from_tensors(
    tensors: Mapping[str, Tensor],
    conv_clamp: float | None = None,
    architecture: Architecture = "skip",
) -> Config:
    """Read a generator's sizes from its tensors' shapes. Raises KeyError where one is missing."""
    widths = []
    resolution = 4
    while f"synthesis.b{resolution}.conv1.weight" in tensors:
        widths.append(tensors[f"synthesis.b{resolution}.conv1.weight"].shape[0])
        resolution *= 2
    layers = sum(f"mapping.fc{i}.weight" in tensors for i in range(64))
    w_dim, fan_in = tensors["mapping.fc0.weight"].shape
    embed = tensors.get("mapping.embed.weight")  # [w_dim, label_dim]
    labels = 0 if embed is None else embed.shape[1]
    z_dim = fan_in - w_dim if labels else fan_in
    return Config(tuple(widths), z_dim, w_dim, layers, conv_clamp, architecture, labels)
