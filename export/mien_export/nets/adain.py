"""Adaptive instance normalisation, which leaves torch as one node, `mien::AdaIN`."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-5  # of every network that uses it


def adain(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each plane of x [N, C, H, W]; scale by gamma, shift by beta, [N, C] each.

    y = gamma * (x - mean) / sqrt(var + 1e-5) + beta, statistics over H and W, var biased
    (Huang and Belongie 2017, Eq. 8). Networks that predict a scale near zero pass 1 + it.
    """
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    scale = gamma.unsqueeze(2).unsqueeze(3) * torch.rsqrt(variance + EPS)
    return (x - mean) * scale + beta.unsqueeze(2).unsqueeze(3)
