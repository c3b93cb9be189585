"""What the graphs of several families share: `Render`, and pictures to trace and test them with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mien_export.graph import BATCH
from mien_export.nets.pictures import to_uint8
from mien_export.nets.separable import bilinear


class Render(nn.Module):
    """What a network takes -> the picture that its image is, and the image's energy."""

    def __init__(self, synthesis: nn.Module) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return to_uint8(self.synthesis(*inputs))


def noise_pictures(size: int, random: torch.Generator) -> Tensor:
    """Draw pictures in which no pixel knows of another, uint8 [BATCH, size, size, 3]."""
    return torch.randint(0, 256, (BATCH, size, size, 3), generator=random, dtype=torch.uint8)


def soft_pictures(size: int) -> Tensor:
    """Return pictures of soft blobs, uint8 [BATCH, size, size, 3], the same at every call."""
    blobs = torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 255
    levels: Tensor = bilinear(8, size, corners=True)(blobs).permute(0, 2, 3, 1).round()
    return levels.to(torch.uint8).contiguous()


@torch.no_grad()
def blanks(module: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return tensors of the shapes and dtypes that module gives, which is not run for it.

    Their values are those that the memory had: they serve as examples of sizes alone.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as shapes:
        outputs = module(*(shapes.from_tensor(x) for x in inputs))
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(torch.empty(x.shape, dtype=x.dtype) for x in several)
