"""What LPIPS compares: maps of VGG-16, and the published weight of each of their channels.

Zhang et al. 2018 (arXiv 1801.03924), version 0.1 of the heads. The distance itself is
`steps.terms.Perceptual`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.shapes import Shapes, check_shapes
from mien_export.checkpoints.vgg import VGG16, vgg_from_tensors
from mien_export.nets.build import Arrays
from mien_export.nets.vgg import Vgg, vgg_from_checkpoint


class LpipsFeatures(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 of VGG-16."""

    def __init__(self, vgg: Vgg) -> None:
        super().__init__()
        if vgg.stages != VGG16 or vgg.kind != "torchvision":
            raise ArchMismatch(
                f"LPIPS: expected torchvision's vgg16, with {VGG16} convolutions, "
                f"found a {vgg.kind} VGG with {vgg.stages}",
                hint="Name the file that holds torchvision's vgg16",
            )
        self.vgg = vgg

    def forward(self, image: Tensor) -> list[Tensor]:
        return [stage[-1] for stage in self.vgg(image)]

    def widths(self) -> list[int]:
        return [stage[-1] for stage in self.vgg.widths]


def vgg16_from_tensors(tensors: Arrays) -> LpipsFeatures:
    """Build the features from a torchvision vgg16 state dict; the classifier is not needed."""
    return LpipsFeatures(vgg_from_checkpoint(vgg_from_tensors(dict(tensors), "the VGG-16")))


def heads_from_tensors(tensors: Arrays, widths: Sequence[int]) -> list[Tensor]:
    """Return the LPIPS weight of each channel, five tensors [C], from the published heads.

    Raises ArchMismatch.
    """
    shapes: Shapes = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(widths)}
    heads = {name: tensors[name] for name in shapes if name in tensors}
    check_shapes(heads, shapes, "the file", "the LPIPS heads for VGG, version 0.1")
    return [torch.from_numpy(head).reshape(-1) for head in heads.values()]
