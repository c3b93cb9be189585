"""An image laid over the square of a photograph that it was cut from: the definition of the CUDA
kernel for video. `mien.faces.paste` is the one for pictures: cubic, and in the photograph's light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import InputError
from mien.ops.dispatch import check
from mien.ops.pixels import MIDDLE

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


def paste(
    photo: U8,  # [H, W, 3], RGB
    image: F32,  # [3, S, S], RGB
    to_crop: ArrayLike,  # [2, 3]
    *,
    feather: float = 0.1,
    mean: float = MIDDLE,
    deviation: float = MIDDLE,
) -> U8:  # [H, W, 3]
    """Draw the image, bilinearly, where it lies in the photograph, fading in from its edge.

    At a pixel that lies at (u, v) of the square, both from 0 to 1, it has the weight
    ramp(u) ramp(v), where ramp rises as 3 p^2 - 2 p^3 over the part `feather` at each end. Levels
    are image * deviation + mean, cut to 0..255 before they are blended, in sRGB, and rounded to the
    nearest.

    Args:
        to_crop: from points of the photograph, in px from the corner of its first pixel, to those
            of the image.
        feather: 0 to 0.5.

    Raises InputError for another dtype or shape, and for a feather beyond its range.
    """
    photo = check("photo", photo, (np.uint8,), ("H", "W", 3))
    image = check("image", image, (np.float32,), (3, "S", "S"))
    size = image.shape[1]
    if image.shape[2] != size:
        raise InputError(f"image has shape {image.shape}, expected (3, S, S)")
    m = np.asarray(to_crop, np.float64)
    if m.shape != (2, 3) or not np.isfinite(m).all():
        raise InputError("to_crop is no finite matrix (2, 3)")
    if not 0 <= feather <= 0.5:
        raise InputError(f"feather is {feather}, expected 0 to 0.5 of the square's side")
    row, column = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    x, y = (axis[0] * column + axis[1] * row + axis[2] for axis in m)  # [H, W] each
    weight = (_ramp(x / size, feather) * _ramp(y / size, feather))[..., None]
    levels = (_bilinear(image, x, y) * deviation + mean).clip(0, 255)
    mixed = np.rint(photo + weight * (levels - photo))
    return np.where(weight > 0, mixed, photo).astype(np.uint8)


def _ramp(position: F64, feather: float) -> F64:
    """1 inside, falling smoothly to 0 at both ends of [0, 1], and 0 beyond."""
    inside = np.minimum(position, 1 - position)
    if feather == 0:
        return (inside > 0).astype(np.float64)
    part = (inside / feather).clip(0, 1)
    ramp: F64 = part * part * (3 - 2 * part)
    return ramp


def _bilinear(image: F32, x: F64, y: F64) -> F64:  # [H, W, 3]
    """Colours at points, between pixel centres; beyond the outermost those of the edge."""
    last = image.shape[1] - 1
    x, y = (x - 0.5).clip(0, last), (y - 0.5).clip(0, last)
    left, above = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(left + 1, last), np.minimum(above + 1, last)
    across, down = x - left, y - above
    planes = image.astype(np.float64)
    upper = planes[:, above, left] * (1 - across) + planes[:, above, right] * across
    lower = planes[:, below, left] * (1 - across) + planes[:, below, right] * across
    drawn: F64 = (upper * (1 - down) + lower * down).transpose(1, 2, 0)
    return drawn
