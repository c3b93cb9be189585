"""Batch normalisation of a trained network: one scale and one shift a channel.

As arithmetic rather than torch's operator, so that tracing folds it into the convolution before it,
and so that its gradient by the input is a multiplication.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5  # of every network here


class BatchNorm(nn.Module):
    """x [N, C] or [N, C, H, W] by the statistics of training (Ioffe and Szegedy 2015, Alg. 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.running_mean: Tensor
        self.running_var: Tensor

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:  # [C] each
        scale = self.weight * torch.rsqrt(self.running_var + EPS)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        sizes = (-1, *(1 for _ in x.shape[2:]))
        return x * scale.reshape(sizes) + shift.reshape(sizes)


def fused(x: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
    """Return norm(convolution(x)) of an nn.Conv2d without bias, as one convolution."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, BatchNorm)
    scale, shift = norm.scale_and_shift()
    weight = convolution.weight * scale.reshape(-1, 1, 1, 1)
    stride, padding, groups = convolution.stride, convolution.padding, convolution.groups
    return F.conv2d(x, weight, shift, stride, padding, 1, groups)
