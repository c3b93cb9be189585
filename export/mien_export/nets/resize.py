"""Pictures of one size for networks of another, by whole factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Resized(nn.Module):
    """A network that wants `to` px, for pictures of `size` px: averaged down, or repeated up."""

    def __init__(self, net: Callable[[Tensor], Sequence[Tensor]], size: int, to: int) -> None:
        super().__init__()
        self.net, self.size, self.to_size = net, size, to

    def forward(self, image: Tensor) -> Sequence[Tensor]:  # [N, 3, size, size]
        if self.size > self.to_size:
            image = F.avg_pool2d(image, self.size // self.to_size)
        elif self.size < self.to_size:
            times = self.to_size // self.size
            tile = torch.ones(image.shape[1], 1, times, times)
            image = F.conv_transpose2d(image, tile, stride=times, groups=image.shape[1])
        return self.net(image)
