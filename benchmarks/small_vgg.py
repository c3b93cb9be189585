"""A VGG without its classifier, of any widths, for the perceptual terms that are measured."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256))


class SmallVgg(nn.Module):
    """image [N, 3, H, W] -> the last map of each stage; max pooling between stages."""

    def __init__(self, stages: tuple[tuple[int, ...], ...] = STAGES) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        c_in = 3
        for widths in stages:
            stage = nn.ModuleList()
            for width in widths:
                stage.append(nn.Conv2d(c_in, width, 3, padding=1))
                c_in = width
            self.stages.append(stage)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = image, []
        for i, stage in enumerate(self.stages):
            x = x if i == 0 else F.max_pool2d(x, 2)
            assert isinstance(stage, nn.ModuleList)
            for convolution in stage:
                x = F.relu(convolution(x))
            maps.append(x)
        return maps
