"""Linear resizing along rows and columns, as two matrices.

Any resize, crop or pooling that treats rows and columns alike is one matrix each. In this form it
is exact, every run time multiplies it fast, and its gradient is the transposed matrix; the
operators for resizing differ between run times, and few of them differentiate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Separable(nn.Module):
    """x [N, C, H, W] -> rows @ x @ columns^T, [N, C, H', W']."""

    def __init__(
        self,
        rows: Tensor,  # [H', H]
        columns: Tensor,  # [W', W]
    ) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.rows: Tensor
        self.columns: Tensor

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        # Rows first, as channels of a 1x1 convolution: a matrix times a batch would be copied
        # once for each of its members.
        x = x.reshape(-1, height, width, 1)
        x = F.conv2d(x, self.rows[:, :, None, None])
        return F.linear(x.reshape(-1, channels, self.rows.shape[0], width), self.columns)


def matrix(size: int, resize: Callable[[Tensor], Tensor]) -> Tensor:  # [size', size]
    """Return the matrix of a linear resize of rows, [1, 1, size, W] -> [1, 1, size', W]."""
    return resize(torch.eye(size, device="cpu")[None, None])[0, 0].contiguous()


def bilinear(size: int, to: int, *, corners: bool = False) -> nn.Module:
    """Resize squares by bilinear interpolation, without a low-pass filter before it.

    corners: the outermost pixels' centres fall together; otherwise their outer edges do.
    """
    return _squares(
        size, to, lambda x: F.interpolate(x, (to, size), mode="bilinear", align_corners=corners)
    )


def bicubic(size: int, to: int) -> nn.Module:
    """Resize squares by bicubic interpolation (Keys 1981, a = -0.75); outer edges fall together.

    Without antialiasing: a picture much larger than `to` is sampled at 4 pixels a direction.
    """
    return _squares(
        size, to, lambda x: F.interpolate(x, (to, size), mode="bicubic", align_corners=False)
    )


def area(size: int, to: int) -> nn.Module:
    """Resize squares so that each pixel is the mean of those it covers."""
    return _squares(size, to, lambda x: F.adaptive_avg_pool2d(x, (to, size)))


def _squares(size: int, to: int, resize: Callable[[Tensor], Tensor]) -> nn.Module:
    """Resize x [N, C, size, size] to [N, C, to, to], columns as `resize` does rows."""
    if size == to:
        return nn.Identity()
    rows = matrix(size, resize)
    return Separable(rows, rows)


# What pSp's identity loss looks at, of a face aligned as in FFHQ (Richardson et al. 2021, arXiv
# 2008.00951).
ALIGNED = 256  # px
FACE_ROWS, FACE_COLUMNS = slice(35, 223), slice(32, 220)


def aligned_face(size: int, to: int) -> Separable:
    """Pool squares to 256 px, cut the face out, and pool that to `to` px."""

    def side(span: slice) -> Tensor:
        def resize(x: Tensor) -> Tensor:
            face = F.adaptive_avg_pool2d(x, (ALIGNED, size))[:, :, span]
            return F.adaptive_avg_pool2d(face, (to, size))

        return matrix(size, resize)

    return Separable(side(FACE_ROWS), side(FACE_COLUMNS))
