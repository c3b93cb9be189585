"""insightface's iresnet (arcface_torch), the recognition network of ArcFace.

Deng et al. 2019 (arXiv 1801.07698); residual units with a normalisation before their first
convolution, after Han et al. 2017 (arXiv 1610.02915). Tensors are named as the files name them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from mien_export.nets.batch_norm import BatchNorm, fused
from mien_export.nets.build import Arrays, build, length_of, shape_of

WHAT = "an iresnet"
STAGES = 4
SHRINKAGE = 2**STAGES  # of a picture's side, from the input to the last map


@dataclass(frozen=True)
class IResNetConfig:
    """widths: of the first convolution, then of the stages. blocks: of each stage.

    size: px of the input's side. embedding: width of the output.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    size: int
    embedding: int


class Unit(nn.Module):
    """Norm, convolution, norm, PReLU, convolution that may stride, norm; plus the input."""

    def __init__(self, c_in: int, c_out: int, *, first: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.bn1 = BatchNorm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm(c_out)
        self.prelu = nn.PReLU(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False)
        self.bn3 = BatchNorm(c_out)
        self.downsample: nn.ModuleList | None = None
        if first:
            shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.downsample = nn.ModuleList([shortcut, BatchNorm(c_out)])

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else fused(x, *self.downsample)
        x = self.prelu(fused(self.bn1(x), self.conv1, self.bn2))
        return fused(x, self.conv2, self.bn3) + same


class IResNet(nn.Module):
    """image [N, 3, size, size] in [-1, 1], RGB -> embedding [N, D], not normalised."""

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.size, self.embedding = config.size, config.embedding
        self.depth = 2 * sum(config.blocks) + 2  # convolutions, and the last layer
        c_in = config.widths[0]
        self.conv1 = nn.Conv2d(3, c_in, 3, 1, 1, bias=False)
        self.bn1 = BatchNorm(c_in)
        self.prelu = nn.PReLU(c_in)
        for i, (c_out, count) in enumerate(zip(config.widths[1:], config.blocks, strict=True), 1):
            units = [Unit(c_in if j == 0 else c_out, c_out, first=j == 0) for j in range(count)]
            setattr(self, f"layer{i}", nn.Sequential(*units))
            c_in = c_out
        self.bn2 = BatchNorm(c_in)
        self.fc = nn.Linear(c_in * (config.size // SHRINKAGE) ** 2, config.embedding)
        self.features = BatchNorm(config.embedding)

    def forward(self, image: Tensor) -> Tensor:
        x = self.prelu(fused(image, self.conv1, self.bn1))
        for i in range(1, STAGES + 1):
            x = getattr(self, f"layer{i}")(x)
        embedding: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embedding


def iresnet_from_tensors(tensors: Arrays) -> IResNet:
    """Build the network that a state dict describes. Raises ArchMismatch."""
    config = _config(tensors)
    return build(lambda: IResNet(config), tensors, WHAT)


def _config(tensors: Arrays) -> IResNetConfig:
    firsts = ("conv1.weight", *(f"layer{i}.0.conv1.weight" for i in range(1, STAGES + 1)))
    widths = tuple(shape_of(tensors, name, 4, WHAT)[0] for name in firsts)
    blocks = tuple(length_of(tensors, f"layer{i}") for i in range(1, STAGES + 1))
    embedding, flat = shape_of(tensors, "fc.weight", 2, WHAT)
    return IResNetConfig(widths, blocks, SHRINKAGE * math.isqrt(flat // widths[-1]), embedding)
