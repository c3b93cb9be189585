"""Where an edit changed a face: squared differences in CIELAB, as numbers and as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.images import Image, Picture, as_rgb

F64 = NDArray[np.float64]

# Linear sRGB to XYZ (IEC 61966-2-1), and the white of D65.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(1)
KNEE = (6 / 29) ** 3


def cielab(picture: NDArray[np.uint8]) -> F64:  # [..., 3] -> [..., 3]
    """Return L*, a*, b* of sRGB, by D65 (CIE 1976)."""
    level = np.arange(256) / 255
    curve = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    ratio = curve[picture] @ XYZ.T / WHITE
    f = np.where(ratio > KNEE, np.cbrt(ratio), ratio * 841 / 108 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def squared_error(before: Image, after: Image) -> F64:  # [H, W]
    """Return the squared distance of every pixel in CIELAB. Raises InputError for two sizes."""
    a, b = as_rgb(before), as_rgb(after)
    if a.shape != b.shape:
        raise InputError(
            f"the pictures are {a.shape[1]} x {a.shape[0]} and {b.shape[1]} x {b.shape[0]} px",
            hint="Compare a face with its own edit",
        )
    found: F64 = ((cielab(a) - cielab(b)) ** 2).sum(-1)
    return found


def locality_map(before: Image, after: Image) -> Picture:
    """Draw where an edit changed a face, white where it did most (Collins et al. 2020).

    Squared errors in CIELAB over their greatest; black where nothing changed. Raises InputError for
    two sizes.
    """
    error = squared_error(before, after)
    levels = np.rint(255 * error / max(error.max(), np.finfo(np.float64).tiny)).astype(np.uint8)
    edits = after.edits if isinstance(after, Picture) else ()
    sources = after.sources if isinstance(after, Picture) else ()
    return Picture(np.repeat(levels[..., None], 3, -1), (*edits, "locality map"), sources)
