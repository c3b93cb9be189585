"""How much one face looks like another, to mien's own embedder: a loss with a gradient.

Figures on cards are of another recogniser, which no training sees.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mien_export.checkpoints.arcface import read_arcface
from mien_export.families.arcface import framing, network
from mien_export.nets.recogniser import Recogniser

EMBEDDER = Path(__file__).parent / "embedder" / "embedder.safetensors"


class Likeness:
    """Embeddings of aligned faces of one size."""

    def __init__(self, size: int) -> None:
        net = network(read_arcface(EMBEDDER))
        self.recogniser = Recogniser(net, framing(net, size)).eval().requires_grad_(False)

    def embedded(self, images: Tensor) -> Tensor:  # [N, 3, size, size] -> [N, D], of length 1
        embedding: Tensor = self.recogniser(images)
        return embedding

    def distance(self, drawn: Tensor, *originals: Tensor) -> Tensor:
        """1 - cosine of drawn to each of originals, the mean of all."""
        found = self.embedded(drawn)
        with torch.no_grad():
            wanted = [self.embedded(images) for images in originals]
        return 1 - torch.stack([(found * other).sum(1).mean() for other in wanted]).mean()
