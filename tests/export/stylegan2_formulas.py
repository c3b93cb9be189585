"""StyleGAN2 generators of NVlabs' repository: small ones, and the published formulas for them."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from tests.golden import seeded
from torch import Tensor

Tensors = dict[str, Tensor]

WIDTHS, Z, W = (10, 8, 6, 4), 12, 14  # 32 px
LAYERS = 2 * len(WIDTHS)


def nvlabs_tensors(architecture: str, labels: int) -> Tensors:
    """The names and shapes of stylegan2-ada-pytorch's generator, filled by name."""
    embedded = W if labels else 0
    shapes: dict[str, tuple[int, ...]] = {"mapping.w_avg": (W,)}
    if labels:
        shapes |= {"mapping.embed.weight": (W, labels), "mapping.embed.bias": (W,)}
    for i in range(2):
        shapes |= {
            f"mapping.fc{i}.weight": (W, W if i else Z + embedded),
            f"mapping.fc{i}.bias": (W,),
        }
    before = 0
    for i, width in enumerate(WIDTHS):
        block, size = f"synthesis.b{4 << i}", 4 << i
        layers = {"conv1": (width, width, 3, 3)}
        if before:
            layers["conv0"] = (width, before, 3, 3)
        else:
            shapes[f"{block}.const"] = (width, 4, 4)
        for layer in layers:
            shapes |= {
                f"{block}.{layer}.noise_const": (size, size),
                f"{block}.{layer}.noise_strength": (),
            }
        if architecture == "skip" or i == len(WIDTHS) - 1:
            layers["torgb"] = (3, width, 1, 1)
        for layer, shape in layers.items():
            shapes |= {f"{block}.{layer}.weight": shape, f"{block}.{layer}.bias": shape[:1]}
            shapes |= {f"{block}.{layer}.affine.weight": (shape[1], W)}
            shapes |= {f"{block}.{layer}.affine.bias": (shape[1],)}
        if architecture == "resnet" and before:
            shapes |= {f"{block}.skip.weight": (width, before, 1, 1)}
            shapes |= {f"{block}.skip.resample_filter": (4, 4)}
        shapes |= {f"{block}.resample_filter": (4, 4)}
        before = width
    tensors = {
        k: torch.from_numpy(np.array(seeded.tensor(k, s, "unit"))) for k, s in shapes.items()
    }
    taps = torch.tensor([1.0, 3, 3, 1])
    for name in tensors:
        if name.endswith("resample_filter"):
            tensors[name] = torch.outer(taps, taps) / 64
        if name.endswith("affine.bias"):
            tensors[name] += 1
    return tensors


class Formulas:
    """The published formulas in float64, sample by sample: no module, no shortcut of ours.

    Convolutions are modulated by their weights (Karras et al. 2020, Eq. 1 and 3), and up-sampling
    puts zeros between pixels before it filters.
    """

    def __init__(self, tensors: Tensors, architecture: str, clamp: float | None) -> None:
        self.tensors = {name: value.double() for name, value in tensors.items()}
        self.architecture, self.clamp = architecture, clamp
        taps = torch.tensor([1, 3, 3, 1]).double() / 8
        self.fir = torch.outer(taps, taps) * 4

    def linear(self, x: Tensor, name: str, lr: float = 1) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return x @ (weight * lr / math.sqrt(weight.shape[1])).T + bias * lr

    def mapping(self, z: Tensor, label: Tensor | None) -> Tensor:
        parts = [z.double()]
        if label is not None:
            parts.append(self.linear(label.double(), "mapping.embed"))
        x = torch.cat([p / (p.square().mean(1, keepdim=True) + 1e-8).sqrt() for p in parts], 1)
        for i in range(2):
            x = F.leaky_relu(self.linear(x, f"mapping.fc{i}", 0.01), 0.2) * math.sqrt(2)
        return x

    def filtered(self, x: Tensor, before: int, after: int) -> Tensor:
        """Filter planes [C, H, W] behind a margin of zeros."""
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x[:, None], self.fir[None, None])[:, 0]

    def spread(self, x: Tensor) -> Tensor:
        """Put a zero behind each pixel of [C, H, W], in both directions."""
        out = x.new_zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2])
        out[:, ::2, ::2] = x
        return out

    def up(self, x: Tensor) -> Tensor:
        return self.filtered(self.spread(x), 2, 1)

    def clamped(self, x: Tensor, gain: float = 1) -> Tensor:
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)

    def conv(self, x: Tensor, w: Tensor, name: str, noise: float, gain: float = 1) -> Tensor:
        style = self.linear(w[None], f"{name}.affine")[0]
        kernel = self.tensors[f"{name}.weight"] * style[:, None, None]
        kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if name.endswith("conv0"):
            x = F.conv2d(F.pad(self.spread(x)[:, :-1, :-1], (2, 2, 2, 2)), kernel.flip(2, 3))
            x = self.filtered(x, 1, 1)
        else:
            x = F.conv2d(x, kernel, padding=1)
        t = self.tensors
        x = x + t[f"{name}.noise_const"] * t[f"{name}.noise_strength"] * noise
        x = F.leaky_relu(x + t[f"{name}.bias"][:, None, None], 0.2) * math.sqrt(2) * gain
        return self.clamped(x, gain)

    def rgb(self, x: Tensor, w: Tensor, name: str) -> Tensor:
        style = self.linear(w[None], f"{name}.affine")[0] / math.sqrt(x.shape[0])
        kernel = self.tensors[f"{name}.weight"] * style[:, None, None]
        return self.clamped(F.conv2d(x, kernel) + self.tensors[f"{name}.bias"][:, None, None])

    def synthesis(self, ws: Tensor, noise: float) -> Tensor:
        return torch.stack([self.one(w.double(), noise) for w in ws])

    def one(self, ws: Tensor, noise: float) -> Tensor:
        x, image, half = self.tensors["synthesis.b4.const"], None, math.sqrt(0.5)
        for i in range(len(WIDTHS)):
            block = f"synthesis.b{4 << i}"
            w = ws[max(0, 2 * i - 1) :]
            if i == 0:
                x, w = self.conv(x, w[0], f"{block}.conv1", noise), w[1:]
            elif self.architecture == "resnet":
                kernel = self.tensors[f"{block}.skip.weight"] / math.sqrt(x.shape[0])
                shortcut = self.up(F.conv2d(x, kernel)) * half
                x = self.conv(x, w[0], f"{block}.conv0", noise)
                x = shortcut + self.conv(x, w[1], f"{block}.conv1", noise, half)
                w = w[2:]
            else:
                x = self.conv(x, w[0], f"{block}.conv0", noise)
                x, w = self.conv(x, w[1], f"{block}.conv1", noise), w[2:]
            image = None if image is None else self.up(image)
            if self.architecture == "skip" or i == len(WIDTHS) - 1:
                added = self.rgb(x, w[0], f"{block}.torgb")
                image = added if image is None else image + added
        assert image is not None
        return image
