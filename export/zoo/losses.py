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


def structure_distance(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean absolute differences of features whose planes are normalised, most where faces are.

    What AdaIN sets does not count: tones and contrast are free, eyes and mouths are not.
    """
    terms = []
    for a, b in zip(found[:4], wanted[:4], strict=True):
        apart = (F.instance_norm(a.float()) - F.instance_norm(b.float())).abs()
        terms.append((apart * _face_weight(a.shape[-1])).mean())
    return torch.stack(terms).mean()


EYES_TO_MOUTH = (0.58, 0.2)  # centre's height and deviation of both axes, of an aligned face's side
MORE = 4.0  # how much more the centre weighs than the border


def _face_weight(side: int) -> Tensor:  # [side, side], of mean 1
    at = (torch.arange(side) + 0.5) / side
    height, spread = EYES_TO_MOUTH
    bump = torch.exp(-(((at - 0.5) / spread) ** 2 + ((at[:, None] - height) / spread) ** 2) / 2)
    weight = 1 + MORE * bump
    return weight / weight.mean()


class Discriminator(nn.Module):
    """Features of a picture -> maps of realness, one of each tap, flattened: [N, M].

    A frozen network's features tell real from made far sooner than learned ones (Sauer et al. 2021,
    arXiv 2111.01007, "Projected GANs"). Deviations: no mixing of channels or scales before the
    heads; relu1_1 is among the taps, for what a picture has wrong in single pixels.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        shapes = ((16, 2), (32, 2), (64, 1), (128, 1), (128, 0))  # channels, halvings
        self.heads = nn.ModuleList(_head(c, width, halvings) for c, halvings in shapes)
        self.register_buffer("scales", torch.ones(len(shapes)))
        self.scales: Tensor  # mean sizes of the taps

    def calibrate(self, features: list[Tensor]) -> None:
        """Take the sizes of real pictures' features as units."""
        self.scales.copy_(torch.stack([x.float().abs().mean() for x in features]))

    def forward(self, features: list[Tensor]) -> Tensor:
        taps = zip(self.heads, features, self.scales, strict=True)
        with torch.autocast("cpu", torch.bfloat16):
            maps = [head(x / scale).flatten(1) for head, x, scale in taps]
        return torch.cat(maps, 1).float()


def _head(channels: int, width: int, halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(halvings):
        layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        channels = width
    layers += [spectral_norm(nn.Conv2d(channels, 2 * width, 3, 1, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(2 * width, 1, 4, 1, 0)))


SHIFT, DIM, CONTRAST = 0.1, 0.2, 0.3  # of the side, of the range, relative


def augmented(images: Tensor) -> Tensor:
    """Move, dim and flatten pictures [N, 3, H, W] at random, so that a discriminator of few real
    ones cannot learn them by heart; gradients pass (Zhao et al. 2020, arXiv 2006.10738)."""
    n, _, h, w = images.shape
    offset = (torch.rand(n, 1, 1, 1) - 0.5) * 2 * DIM
    gain = 1 + (torch.rand(n, 1, 1, 1) - 0.5) * 2 * CONTRAST
    mean = images.mean((1, 2, 3), keepdim=True)
    toned = (images - mean) * gain + mean + offset
    dy, dx = (int(torch.randint(-round(SHIFT * s), round(SHIFT * s) + 1, ())) for s in (h, w))
    return F.pad(toned, (dx, -dx, dy, -dy))
