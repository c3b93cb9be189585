"""VGG-16 features and the LPIPS distance on them.

Simonyan and Zisserman 2015 (arXiv 1409.1556), torchvision's numbering of the layers; Zhang et al.
2018 (arXiv 1801.03924), version 0.1 of the published heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch

# Convolutions of each stage, by their index in torchvision's `features`; a stage ends in the ReLU
# that LPIPS taps (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3), and a max pooling follows it.
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)

# The published LPIPS scales its input in [-1, 1] by these to the statistics of ImageNet.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class Vgg16(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> the five ReLU maps that LPIPS compares."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        c_in = 3
        for stage, width in zip(STAGES, WIDTHS, strict=True):
            for index in stage:
                self.features[str(index)] = nn.Conv2d(c_in, width, 3, padding=1)
                c_in = width
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, image: Tensor) -> list[Tensor]:
        x, taps = (image - self.shift) / self.scale, []
        for i, stage in enumerate(STAGES):
            x = x if i == 0 else F.max_pool2d(x, 2)
            for index in stage:
                x = F.relu(self.features[str(index)](x))
            taps.append(x)
        return taps


def vgg16_from_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> Vgg16:
    """Build the features from a torchvision vgg16 state dict; the classifier is not needed."""
    net = Vgg16()
    state = {k: v for k, v in net.state_dict().items() if k.startswith("features.")}
    _require(tensors, {k: tuple(v.shape) for k, v in state.items()}, "torchvision's vgg16")
    net.load_state_dict({k: torch.from_numpy(tensors[k]) for k in state}, strict=False)
    return net.eval().requires_grad_(False)


def heads_from_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> list[Tensor]:
    """Return the LPIPS weight of each channel, five tensors [C], from the published heads."""
    shapes = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(WIDTHS)}
    _require(tensors, shapes, "the LPIPS heads for VGG, version 0.1")
    return [torch.from_numpy(tensors[k]).reshape(-1) for k in shapes]


def _require(
    tensors: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]], what: str
) -> None:
    for name, shape in shapes.items():
        found = tensors[name].shape if name in tensors else "no such tensor"
        if found != shape:
            raise ArchMismatch(
                f"{name}: expected {shape} of {what}, found {found}",
                hint=f"Name the file that holds {what}",
            )
