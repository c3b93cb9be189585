"""Bilinear interpolation of squares between two fixed sizes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from mien_export.nets.separable import Separable, matrix


def bilinear(size: int, to: int, *, corners: bool = False) -> nn.Module:
    """Resize x [N, C, size, size] to [N, C, to, to], without a low-pass filter before it.

    corners: the outermost pixels' centres fall together; otherwise their outer edges do.
    """
    if size == to:
        return nn.Identity()
    rows = matrix(
        size, lambda x: F.interpolate(x, (to, size), mode="bilinear", align_corners=corners)
    )
    return Separable(rows, rows)
