"""A picture drawn through a matrix: crops that are turned, scaled or tilted, and the way back."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import InputError
from mien.ops.dispatch import Impl, check, native, result, threads_from

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Border = Literal["constant", "edge", "reflect"]

FAR = 1e9  # px; what lies further out is taken as no place at all


def warp(
    picture: U8,  # [H, W, 3], RGB
    matrix: ArrayLike,  # [3, 3] or [2, 3]
    size: tuple[int, int],
    *,
    border: Border = "constant",
    fill: tuple[float, float, float] = (0, 0, 0),
    out: U8 | None = None,
    impl: Impl = "auto",
    threads: int | None = None,
) -> U8:  # [height, width, 3]
    """Draw the picture anew: the pixel at point p of the result is that at matrix @ p of picture.

    Points are (x, y, 1) in px, (0, 0) the corner of the first pixel, so that its centre is
    (0.5, 0.5), as in `AlignedFace.to_photo`, which cuts out a face. Between centres colours are
    bilinear.

    Args:
        matrix: from points of the result to points of the picture; [2, 3] is an affine one.
        size: (height, width) of the result.
        border: what lies outside: "constant" is fill, "edge" the outermost pixels, "reflect" the
            picture mirrored about their centres (the names of `np.pad`).
        fill: levels, RGB. Also of points that the matrix puts on its horizon or behind it, where
            the third coordinate is not positive, and of those beyond 1e9 px.

    Raises:
        InputError: another dtype or shape, a matrix that is not finite, an unknown border.
        MissingDependency: impl is "native", which is not built.
    """
    picture = check("picture", picture, (np.uint8,), ("H", "W", 3))
    m = _matrix(matrix)
    if border not in ("constant", "edge", "reflect"):
        raise InputError(f"border is {border!r}, expected constant, edge or reflect")
    if len(fill) != 3 or not all(0 <= level <= 255 for level in fill):
        raise InputError(f"fill is {fill}, expected three levels from 0 to 255")
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"size is {height} x {width}, expected 1 or more")
    out = result(out, (height, width, 3), np.uint8, (picture,))
    threads = threads_from(threads)
    if kernels := native(impl):
        kernels.warp(picture, m, border, [float(level) for level in fill], out, threads)
    else:
        out[...] = np.rint(_warp_ref(picture, m, size, border, fill))
    return out


def matrix_from_quad(quad: ArrayLike, size: tuple[int, int]) -> F64:
    """Return the matrix [3, 3] that draws a quadrilateral of a picture as a rectangle.

    Where the quad is a parallelogram this is affine. Else it is the projective one, which keeps
    lines straight; Pillow's QUAD transform is bilinear in the corners, and bends them.

    Args:
        quad: corners [4, 2] in px, as `quad_from_landmarks` gives them: top left, bottom left,
            bottom right, top right.
        size: (height, width) of the rectangle.

    Raises InputError where three corners lie on a line.
    """
    corners = np.asarray(quad, np.float64)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise InputError("quad is no array of four corners [4, 2]")
    height, width = size
    # The corners times unknown depths are those of a parallelogram: a - b + c - d = 0.
    points = np.column_stack([corners, np.ones(4)])  # [4, 3]
    around = points[[0, 1, 2]].T * [1, -1, 1]
    if abs(np.linalg.det(around)) < 1e-9 * max(1.0, float(np.ptp(corners)) ** 2):
        raise InputError("three corners of the quad lie on a line", hint="Detect the face again")
    depths = np.linalg.solve(around, points[3])
    if (depths <= 0).any():
        raise InputError("the quad is not convex", hint="Detect the face again")
    origin, down = points[0] * depths[0], points[1] * depths[1]
    return np.column_stack([(points[3] - origin) / width, (down - origin) / height, origin])


def _matrix(matrix: ArrayLike) -> F64:
    m = np.asarray(matrix, np.float64)
    if m.shape == (2, 3):
        m = np.vstack([m, [0, 0, 1]])
    if m.shape != (3, 3):
        raise InputError(f"the matrix has shape {m.shape}, expected (3, 3) or (2, 3)")
    if not np.isfinite(m).all():
        raise InputError("the matrix holds NaN or infinity")
    return np.ascontiguousarray(m)


def _warp_ref(
    picture: U8, m: F64, size: tuple[int, int], border: Border, fill: tuple[float, float, float]
) -> F64:  # [height, width, 3], levels not yet rounded
    v, u = np.mgrid[: size[0], : size[1]] + 0.5
    with np.errstate(all="ignore"):  # of points that are not seen
        x, y, depth = (row[0] * u + row[1] * v + row[2] for row in m)
        x, y = x / depth - 0.5, y / depth - 0.5
        is_seen = (depth > 0) & (np.abs(x) < FAR) & (np.abs(y) < FAR)
    x, y = np.where(is_seen, x, 0), np.where(is_seen, y, 0)
    left, right, across = _between(x, picture.shape[1], border)
    above, below, down = _between(y, picture.shape[0], border)
    padded = _with_frame(picture, fill)
    across, down = across[..., None], down[..., None]
    upper = (1 - across) * padded[above, left] + across * padded[above, right]
    lower = (1 - across) * padded[below, left] + across * padded[below, right]
    drawn = (1 - down) * upper + down * lower
    return np.where(is_seen[..., None], drawn, np.asarray(fill, np.float64))


def _between(
    at: F64, size: int, border: Border
) -> tuple[NDArray[np.int64], NDArray[np.int64], F64]:
    """Indices, into a picture with a frame, of the neighbours of a point; the way from one to the
    other."""
    last = size - 1
    if border == "edge":
        at = at.clip(0, last)
    elif border == "reflect":
        at = np.abs(np.fmod(at, 2 * last)) if last else np.zeros_like(at)
        at = np.where(at > last, 2 * last - at, at)
    first = np.floor(at)
    second = first + 1 if border == "constant" else np.minimum(first + 1, last)
    index = [(i.clip(-1, size) + 1).astype(np.int64) for i in (first, second)]
    return index[0], index[1], at - first


def _with_frame(picture: U8, fill: tuple[float, float, float]) -> F64:
    """The picture in a frame of fill, one pixel wide: [H + 2, W + 2, 3]."""
    h, w, _ = picture.shape
    framed = np.empty((h + 2, w + 2, 3))
    framed[:] = fill
    framed[1:-1, 1:-1] = picture
    return framed
