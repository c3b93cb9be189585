"""The statistics of ImageNet, which networks trained on it take their pictures by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Of RGB in [-1, 1]: 2 mean - 1 and 2 deviations of RGB in [0, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class ImageNet(nn.Module):
    """image [N, 3, H, W] in [-1, 1] -> mean 0 and deviation 1 of each colour over ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        shift = torch.tensor(SHIFT, device="cpu")[:, None, None]
        scale = torch.tensor(SCALE, device="cpu")[:, None, None]
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.shift) / self.scale
