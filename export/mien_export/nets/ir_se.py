"""TreB1eN's IR and IR-SE recognition networks (InsightFace_Pytorch), and the trunk that pSp's
encoders share with them.

Residual units as in `iresnet`, with a squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507) at
the end of each in the SE kind. Tensors are named as the files name them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.batch_norm import BatchNorm, fused
from mien_export.nets.build import Arrays, build, length_of, shape_of

WHAT = "an IR network"


@dataclass(frozen=True)
class TrunkConfig:
    """first: channels of the first convolution. stages: channels and number of units of each.

    squeezed: channels inside the squeeze of each stage; empty without squeezes.
    """

    first: int
    stages: tuple[tuple[int, int], ...]
    squeezed: tuple[int, ...] = ()


class SqueezeExcite(nn.Module):
    """Scale each channel by what a two-layer network makes of all channels' means."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, squeezed, 1, bias=False)
        self.fc2 = nn.Conv2d(squeezed, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class EverySecond(nn.Module):
    """Keep every second pixel of x [N, C, H, W], as a max pooling of one pixel would.

    As a convolution: a slice with a step has a gradient that scatters.
    """

    def forward(self, x: Tensor) -> Tensor:
        one = torch.ones(x.shape[1], 1, 1, 1, device=x.device, dtype=x.dtype)
        return F.conv2d(x, one, stride=2, groups=x.shape[1])


class Unit(nn.Module):
    """Norm, convolution, PReLU, strided convolution, norm, maybe a squeeze; plus the input."""

    def __init__(self, c_in: int, c_out: int, squeezed: int, *, first: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.res_layer = nn.ModuleList(
            [
                BatchNorm(c_in),
                nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False),
                nn.PReLU(c_out),
                nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False),
                BatchNorm(c_out),
            ]
        )
        if squeezed:
            self.res_layer.append(SqueezeExcite(c_out, squeezed))
        self.shortcut_layer: nn.Module = EverySecond() if first else nn.Identity()
        if c_in != c_out:
            shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.shortcut_layer = nn.ModuleList([shortcut, BatchNorm(c_out)])

    def forward(self, x: Tensor) -> Tensor:
        norm, convolution, prelu, strided, norm_after, *squeeze = self.res_layer
        same: Tensor
        if isinstance(self.shortcut_layer, nn.ModuleList):
            same = fused(x, *self.shortcut_layer)
        else:
            same = self.shortcut_layer(x)
        x = fused(prelu(convolution(norm(x))), strided, norm_after)
        for module in squeeze:
            x = module(x)
        return x + same


class Trunk(nn.Module):
    """A first convolution and the stages of units, each of which halves the picture."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        c_in = config.first
        self.input_layer = nn.ModuleList(
            [nn.Conv2d(3, c_in, 3, 1, 1, bias=False), BatchNorm(c_in), nn.PReLU(c_in)]
        )
        self.body = nn.ModuleList()
        self.ends: list[int] = []  # the last unit of each stage
        squeezed = config.squeezed or (0,) * len(config.stages)
        for (c_out, count), inside in zip(config.stages, squeezed, strict=True):
            for j in range(count):
                self.body.append(Unit(c_in, c_out, inside, first=j == 0))
                c_in = c_out
            self.ends.append(len(self.body) - 1)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return the map at the end of each stage; image [N, 3, H, W] in [-1, 1], RGB."""
        convolution, norm, prelu = self.input_layer
        x, found = prelu(fused(image, convolution, norm)), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.ends:
                found.append(x)
        return found


class IrSe(Trunk):
    """image [N, 3, size, size] in [-1, 1], RGB -> embedding [N, D], not normalised."""

    def __init__(self, config: TrunkConfig, size: int, embedding: int) -> None:
        super().__init__(config)
        self.size, self.embedding = size, embedding
        self.depth = 2 * len(self.body) + 2  # convolutions, and the last layer
        self.squeezes = bool(config.squeezed)
        width, side = config.stages[-1][0], size >> len(config.stages)
        self.output_layer = nn.ModuleDict(
            {
                "0": BatchNorm(width),
                "3": nn.Linear(width * side**2, embedding),  # 1 and 2: dropout, flattening
                "4": BatchNorm(embedding),
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.output_layer["0"](self.maps(image)[-1])
        embedding: Tensor = self.output_layer["4"](self.output_layer["3"](x.flatten(1)))
        return embedding


def ir_se_from_tensors(tensors: Arrays) -> IrSe:
    """Build the network that a state dict describes. Raises ArchMismatch."""
    config = trunk_config(tensors, WHAT)
    embedding, flat = shape_of(tensors, "output_layer.3.weight", 2, WHAT)
    size = math.isqrt(flat // config.stages[-1][0]) << len(config.stages)
    return build(lambda: IrSe(config, size, embedding), tensors, WHAT)


def trunk_config(tensors: Arrays, what: str) -> TrunkConfig:
    """Read a trunk's sizes. A stage begins where a shortcut has a convolution.

    Raises ArchMismatch.
    """
    count = length_of(tensors, "body")
    starts = [
        i for i in range(count) if i == 0 or f"body.{i}.shortcut_layer.0.weight" in tensors
    ] or [0]
    widths = [shape_of(tensors, f"body.{i}.res_layer.1.weight", 4, what)[0] for i in starts]
    lengths = [b - a for a, b in zip(starts, [*starts[1:], count], strict=True)]
    squeezed: tuple[int, ...] = ()
    if any(".res_layer.5." in name for name in tensors):
        names = [f"body.{i}.res_layer.5.fc1.weight" for i in starts]
        squeezed = tuple(shape_of(tensors, name, 4, what)[0] for name in names)
    first = shape_of(tensors, "input_layer.0.weight", 4, what)[0]
    return TrunkConfig(first, tuple(zip(widths, lengths, strict=True)), squeezed)
