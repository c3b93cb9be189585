"""A generator small enough to export in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_export.nets.stylegan2 import Config, Generator
from mien_export.steps.terms import Perceptual

CONFIG = Config((16, 16, 16, 12, 8), z_dim=24, w_dim=32, mapping_layers=2)  # 64 px
SMALL = Config((16, 12, 12, 8), z_dim=16, w_dim=24, mapping_layers=2)  # 32 px


class TinyFeatures(nn.Module):
    """A convolution, a max pooling behind a ReLU, a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 10, 4, 2, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        first = nn.functional.relu(self.first(image))
        return [first, self.second(nn.functional.max_pool2d(first, 2))]


def tiny(config: Config = CONFIG) -> tuple[Generator, Perceptual]:
    """Seeded random networks, with noise in some layers."""
    torch.manual_seed(7)
    generator = Generator(config)
    with torch.no_grad():
        generator.mapping.w_avg.normal_().mul_(0.2)
        for i, layer in enumerate(m for m in generator.modules() if hasattr(m, "noise_strength")):
            layer.noise_strength.fill_(0.1 * (i % 2))
    generator.drop_silent_noise()
    features = TinyFeatures().eval().requires_grad_(False)
    return generator.eval().requires_grad_(False), Perceptual(features)
