"""What the networks share: equalised linear layers, the modulated convolution, the FIR filter.

Modules hold a checkpoint's tensors as the file stores them; learning-rate gains are applied in
`forward`, so the same module trains and exports. The exporter folds what depends on weights alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEMODULATION_EPS = 1e-8


def fir_filter() -> Tensor:
    """Return the [1, 3, 3, 1] low-pass filter, [4, 4], sum 1 (Karras et al. 2020, section 2)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / taps.sum() ** 2


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 with gain sqrt(2), which keeps the second moment."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def normalise_second_moment(x: Tensor) -> Tensor:
    """Scale each row of x [N, D] to mean square 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate: weight * lr / sqrt(fan_in), bias * lr."""

    def __init__(self, fan_in: int, fan_out: int, *, lr: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr)
        self.bias = nn.Parameter(torch.full((fan_out,), bias / lr))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        gain = self.lr / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * gain, self.bias * self.lr)


def per_plane(x: Tensor) -> Tensor:  # [N, C] -> [N, C, 1, 1]
    """Shape a number per channel for planes; not x[:, :, None, None], whose gradient scatters."""
    return x.unsqueeze(2).unsqueeze(3)


def upsample(x: Tensor, fir: Tensor) -> Tensor:
    """Double x [N, C, H, W] in size, through the filter fir [4, 4] with gain 4."""
    channels = x.shape[1]
    taps = (fir * 4).to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv_transpose2d(x, taps, stride=2, padding=1, groups=channels)


def blur(x: Tensor, fir: Tensor) -> Tensor:
    """Filter x [N, C, 2H+1, 2W+1], fresh from a stride-2 up-convolution, to [N, C, 2H, 2W]."""
    channels = x.shape[1]
    taps = (fir * 4).to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv2d(x, taps, padding=1, groups=channels)


def modulated_convolution(
    x: Tensor,  # [N, c_in, H, W]
    weight: Tensor,  # [c_out, c_in, k, k]
    style: Tensor,  # [N, c_in]
    *,
    demodulate: bool = True,
    up_fir: Tensor | None = None,  # [4, 4]: double the size through this filter
) -> Tensor:  # [N, c_out, H or 2H, W or 2W]
    """Convolve with weights scaled per sample by style (Karras et al. 2020, Eq. 1 and 3).

    Written as scale -> convolution -> demodulation: the kernel stays a constant, a batch needs no
    grouped convolution, and a gradient by the style needs no gradient by the weights. The blur
    is not folded into the up-convolution, which would cost four times its work.
    """
    x = x * per_plane(style).to(x.dtype)
    kernel = weight.to(x.dtype)
    if up_fir is None:
        x = F.conv2d(x, kernel, padding=weight.shape[2] // 2)
    else:
        x = blur(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2), up_fir)
    if demodulate:
        energy = weight.square().sum((2, 3))  # [c_out, c_in]
        scale = torch.rsqrt(F.linear(style.square(), energy) + DEMODULATION_EPS)
        x = x * per_plane(scale).to(x.dtype)
    return x
