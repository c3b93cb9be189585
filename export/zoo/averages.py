"""Averages of networks over training, which are what is shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Averages:
    """A copy of net whose tensors follow net's own, exponentially.

    net: the copy, in evaluation mode. decay: of each step, approached from below at the start.
    """

    def __init__(self, net: nn.Module, decay: float = 0.999) -> None:
        self.net = copy.deepcopy(net).eval()
        self.net.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, net: nn.Module, step: int) -> None:
        """Move a step towards net."""
        decay = min(self.decay, (step + 1) / (step + 20))
        current = net.state_dict()
        for name, kept in self.net.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(current[name], 1 - decay)
            else:
                kept.copy_(current[name])
