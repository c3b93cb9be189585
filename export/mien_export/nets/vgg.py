"""VGG as an encoder: the map behind every ReLU.

Simonyan and Zisserman 2015 (arXiv 1409.1556), without the classifier. Stages are joined by a max
pooling of 2, which drops an odd last row or column.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.checkpoints.vgg import VggCheckpoint
from mien_export.nets.build import build
from mien_export.nets.imagenet import ImageNet
from mien_export.nets.mirror import mirror


class Vgg(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> the ReLU maps of each stage, each [N, C, H', W'].

    `maps[s][i]` is relu(s+1)_(i+1), of widths[s][i] channels. lifts: for a distilled network, stage
    by stage, what brings its first map to VGG-19's width; none for others.
    """

    def __init__(self, checkpoint: VggCheckpoint) -> None:
        super().__init__()
        shapes = {name: value.shape for name, value in checkpoint.tensors.items()}
        self.kind, self.stages = checkpoint.kind, checkpoint.stages
        self.input = ImageNet() if self.kind == "torchvision" else FromUnit()
        convolution = ZeroPadded if self.kind == "torchvision" else Mirrored
        self.convs = nn.ModuleDict()
        self.lifts = nn.ModuleDict()
        self.widths: list[list[int]] = []
        for stage, count in enumerate(self.stages, 1):
            self.widths.append([])
            for index in range(1, count + 1):
                c_out, c_in = shapes[f"conv{stage}_{index}.weight"][:2]
                self.convs[f"conv{stage}_{index}"] = convolution(c_in, c_out)
                self.widths[-1].append(c_out)
            if checkpoint.lifted:
                c_out, c_in = shapes[f"lift{stage}.weight"][:2]
                self.lifts[f"lift{stage}"] = nn.Conv2d(c_in, c_out, 1)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        x = self.input(image)
        maps: list[list[Tensor]] = []
        for stage, count in enumerate(self.stages, 1):
            x = x if stage == 1 else F.max_pool2d(x, 2)
            maps.append([])
            for index in range(1, count + 1):
                x = F.relu(self.convs[f"conv{stage}_{index}"](x))
                maps[-1].append(x)
        return maps

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions, convS_I, from the first to the last."""
        return tuple(self.convs)

    def before_relu(self, image: Tensor, last: str) -> dict[str, Tensor]:
        """Return what each convolution gives, by its name; none behind `last` is computed."""
        found: dict[str, Tensor] = {}
        x = self.input(image)
        for name, convolution in self.convs.items():
            first_of_stage = name.endswith("_1") and found
            found[name] = convolution(F.max_pool2d(x, 2) if first_of_stage else x)
            if name == last:
                break
            x = F.relu(found[name])
        return found

    def lifted(self, maps: list[list[Tensor]]) -> list[Tensor]:
        """Return reluS_1 of every stage, at VGG-19's widths where the file can bring them there."""
        firsts = [stage[0] for stage in maps]
        if not self.lifts:
            return firsts
        return [F.relu(lift(x)) for lift, x in zip(self.lifts.values(), firsts, strict=True)]


class ZeroPadded(nn.Conv2d):
    """A 3x3 convolution of an image with zeros around it."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 3, padding=1)


class Mirrored(nn.Conv2d):
    """A 3x3 convolution of an image mirrored at its edge, of at least 2x2."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(mirror(x))


class FromUnit(nn.Conv2d):
    """Image in [-1, 1] -> what the file's own 1x1 convolution makes of RGB in [0, 1]."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward((image + 1) * 0.5)


def vgg_from_checkpoint(checkpoint: VggCheckpoint) -> Vgg:
    """Build the network that the tensors describe, ready for export. Raises ArchMismatch."""
    tensors = {_place(name): value for name, value in checkpoint.tensors.items()}
    return build(lambda: Vgg(checkpoint), tensors, "a VGG")


def _place(name: str) -> str:
    """Where the network has a tensor of the checkpoint."""
    for kind in ("conv", "lift"):
        if name.startswith(kind):
            return f"{kind}s.{name}"
    return name
