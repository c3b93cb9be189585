"""Between pictures, uint8 RGB [N, H, W, 3], and images, float RGB [N, 3, H, W] in [-1, 1].

uint8 is cast first thing and last thing: TensorRT does nothing else with it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def from_uint8(picture: Tensor) -> Tensor:
    """Picture -> image."""
    return picture.to(torch.float32).permute(0, 3, 1, 2) / 127.5 - 1


def to_uint8(image: Tensor) -> tuple[Tensor, Tensor]:
    """Image -> picture, and the image's mean square [N].

    A NaN would become an honest-looking black pixel; the mean square carries it out.
    """
    energy = image.square().mean((1, 2, 3))
    levels = (image.clamp(-1, 1) * 127.5 + 127.5).round()
    return levels.permute(0, 2, 3, 1).to(torch.uint8), energy
