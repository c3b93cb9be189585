"""Any recognition network as one differentiable map from a face to a unit vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-10  # under the root: a zero embedding stays zero, and has a finite gradient


class Recogniser(nn.Module):
    """image [N, 3, R, R] in [-1, 1], RGB -> embedding [N, D] of length 1.

    The cosine of two faces is the scalar product of their embeddings.

    net: the network, for images of its own size. framing: cuts that out of an image; None where
    images come in the network's size.
    """

    def __init__(self, net: nn.Module, framing: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.framing = net, framing

    def forward(self, image: Tensor) -> Tensor:
        x = self.net(image if self.framing is None else self.framing(image))
        unit: Tensor = x * torch.rsqrt(x.square().sum(1, keepdim=True) + EPS)
        return unit
