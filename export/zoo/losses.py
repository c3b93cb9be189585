"""What a network of the zoo is trained against: features of a distilled VGG-19, a discriminator."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

STAGES = ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))  # of VGG-19: block, convolutions in it


class Vgg19Small:
    """relu1_1 .. relu5_1 of the 16 times smaller VGG-19 (Wang et al. 2020, arXiv 2003.08436)."""

    def __init__(self, path: Path) -> None:
        self.weights = torch.load(path, map_location="cpu", weights_only=True)["model"]

    def __call__(self, image: Tensor) -> list[Tensor]:  # [N, 3, H, W] in [-1, 1]
        x, taps = self._convolve(image * 0.5 + 0.5, "0", 0).bfloat16(), []
        x = x.contiguous(memory_format=torch.channels_last)
        for block, count in STAGES:
            for i in range(1, count + 1):
                x = F.relu(self._convolve(x, f"{block}{i}", 1))
                if i == 1:
                    taps.append(x)
            x = F.max_pool2d(x, 2)
        return taps

    def _convolve(self, x: Tensor, name: str, padding: int) -> Tensor:
        weight = self.weights[f"conv{name}.weight"].to(x.dtype)
        bias = self.weights[f"conv{name}.bias"].to(x.dtype)
        return F.conv2d(F.pad(x, (padding,) * 4, mode="reflect") if padding else x, weight, bias)


def feature_distance(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean absolute differences of features, each layer relative to its own size."""
    terms = [
        (a - b).abs().float().mean() / (b.abs().float().mean() + 1e-3)
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(terms).sum()


class Discriminator(nn.Module):
    """image [N, 3, 128, 128] -> realness [N], spectrally normalised (Miyato et al. 2018)."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 160, 192)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for width in widths:
            layers += [spectral_norm(nn.Conv2d(c_in, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            c_in = width
        layers += [spectral_norm(nn.Conv2d(c_in, c_in, 3, 1, 1)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(c_in + 1, 1, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.body(image.contiguous(memory_format=torch.channels_last))
        # How much the batch varies (Karras et al. 2018): a generator that repeats itself shows.
        spread = x.float().std(0, correction=0).mean().to(x.dtype)
        x = torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], 1)
        score: Tensor = self.head(x).flatten()
        return score


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Squared gradient of the discriminator at real pictures (Mescheder et al. 2018, Eq. 9)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
