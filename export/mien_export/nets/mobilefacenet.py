"""foamliu's MobileFaceNet, a recognition network of a million weights.

Chen et al. 2018 (arXiv 1804.07573), with ReLU6 in place of PReLU, as in MobileNetV2 (Sandler et al.
2018, arXiv 1801.04381). Tensors are named as the files name them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.batch_norm import BatchNorm, fused
from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.imagenet import ImageNet

WHAT = "a MobileFaceNet"

EXPANSION = 4  # of the units that halve the picture; the first unit halves it, too


@dataclass(frozen=True)
class MobileFaceNetConfig:
    """units: of each residual unit the channels inside, those it gives, and its stride.

    first: channels of the first convolution. last: of the map that is embedded, which has
    kernel x kernel pixels. embedding: width of the output.
    """

    first: int
    units: tuple[tuple[int, int, int], ...]
    last: int
    kernel: int
    embedding: int

    @property
    def size(self) -> int:
        """px of the input's side."""
        side = 2 * self.kernel
        for _, _, stride in self.units:
            side *= stride
        return side


class Convolution(nn.ModuleList):
    """Convolution, norm, ReLU6."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        convolution = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__([convolution, BatchNorm(c_out)])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(fused(x, *self))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; plus the input where that fits."""

    def __init__(self, c_in: int, inside: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList(
            [
                Convolution(c_in, inside, 1),
                Convolution(inside, inside, 3, stride, groups=inside),
                nn.Conv2d(inside, c_out, 1, bias=False),
                BatchNorm(c_out),
            ]
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        expand, depthwise, project, norm = self.conv
        y = fused(depthwise(expand(x)), project, norm)
        return x + y if self.residual else y


class SeparableConvolution(nn.Module):
    """3x3 depthwise convolution, then a 1x1 pointwise one, each with norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = BatchNorm(width)
        self.bn2 = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(fused(x, self.depthwise, self.bn1))
        return F.relu(fused(x, self.pointwise, self.bn2))


class GlobalConvolution(nn.Module):
    """Global depthwise convolution: [N, C, k, k] -> [N, C, 1, 1]."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, groups=width, bias=False)
        self.bn = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return fused(x, self.depthwise, self.bn)


class MobileFaceNet(nn.Module):
    """image [N, 3, size, size] in [-1, 1], RGB -> embedding [N, D], not normalised."""

    def __init__(self, config: MobileFaceNetConfig) -> None:
        super().__init__()
        self.size, self.embedding = config.size, config.embedding
        c_in = config.first
        self.conv1 = Convolution(3, c_in, 3, 2)
        self.dw_conv = SeparableConvolution(c_in)
        self.features = nn.Sequential()
        for inside, c_out, stride in config.units:
            self.features.append(InvertedResidual(c_in, inside, c_out, stride))
            c_in = c_out
        self.conv2 = Convolution(c_in, config.last, 1)
        self.gdconv = GlobalConvolution(config.last, config.kernel)
        self.conv3 = nn.Conv2d(config.last, config.embedding, 1)
        self.bn = BatchNorm(config.embedding)
        self.normalise = ImageNet()

    def forward(self, image: Tensor) -> Tensor:
        x = self.dw_conv(self.conv1(self.normalise(image)))
        x = self.gdconv(self.conv2(self.features(x)))
        embedding: Tensor = self.bn(self.conv3(x).flatten(1))
        return embedding


def mobilefacenet_from_tensors(tensors: Arrays) -> MobileFaceNet:
    """Build the network that a state dict describes. Raises ArchMismatch."""
    config = _config(tensors)
    return build(lambda: MobileFaceNet(config), tensors, WHAT)


def _config(tensors: Arrays) -> MobileFaceNetConfig:
    units = []
    for i in range(length_of(tensors, "features")):
        inside, c_in, _, _ = shape_of(tensors, f"features.{i}.conv.0.0.weight", 4, WHAT)
        c_out = shape_of(tensors, f"features.{i}.conv.2.weight", 4, WHAT)[0]
        units.append((inside, c_out, 2 if i == 0 or inside == EXPANSION * c_in else 1))
    last, _, kernel, _ = shape_of(tensors, "gdconv.depthwise.weight", 4, WHAT)
    embedding = shape_of(tensors, "conv3.weight", 4, WHAT)[0]
    first = shape_of(tensors, "conv1.0.weight", 4, WHAT)[0]
    return MobileFaceNetConfig(first, tuple(units), last, kernel, embedding)
