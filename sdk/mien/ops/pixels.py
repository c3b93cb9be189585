"""Between pictures, uint8 RGB [N, H, W, 3], and images, float32 RGB [N, 3, H, W], of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, NotFinite
from mien.ops.dispatch import Impl, check, native, result, threads_from

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Filter = Literal["bilinear", "area"]
Channels = float | Sequence[float]  # one number, or one for each channel

MIDDLE = 127.5  # levels; (level - 127.5) / 127.5 is in [-1, 1]


def floats_from_pixels(
    picture: U8,  # [N, H, W, 3]
    size: tuple[int, int] | None = None,
    *,
    filter: Filter = "bilinear",
    mean: Channels = MIDDLE,
    deviation: Channels = MIDDLE,
    out: F32 | None = None,
    impl: Impl = "auto",
    threads: int | None = None,
) -> F32:  # [N, 3, height, width]
    """Resample pictures, then normalise them: (level - mean) / deviation, [-1, 1] unless asked.

    Args:
        size: (height, width) of the result; None keeps that of the picture.
        filter: "bilinear" between pixel centres, edges continued, without smoothing first; "area"
            the mean of what a pixel of the result covers, for scaling down.
        mean, deviation: in levels.

    Raises:
        InputError: another dtype, shape, size or filter; a deviation of 0.
        MissingDependency: impl is "native", which is not built.
    """
    picture = check("picture", picture, (np.uint8,), ("N", "H", "W", 3))
    n, h, w, _ = picture.shape
    height, width = _size(size, h, w)
    scale = 1 / _deviation(deviation)
    shift = -_channels("mean", mean) * scale
    out = result(out, (n, 3, height, width), np.float32, (picture,))
    rows, columns = taps(h, height, filter), taps(w, width, filter)
    threads = threads_from(threads)
    if kernels := native(impl):
        kernels.floats_from_pixels(
            picture, *rows.arrays(), *columns.arrays(), list(scale), list(shift), out, threads
        )
    else:
        image = _resample_ref(picture.transpose(0, 3, 1, 2), rows, columns)
        out[...] = image * scale[:, None, None] + shift[:, None, None]
    return out


def pixels_from_floats(
    image: F32,  # [N, 3, H, W]
    size: tuple[int, int] | None = None,
    *,
    filter: Filter = "bilinear",
    mean: Channels = MIDDLE,
    deviation: Channels = MIDDLE,
    out: U8 | None = None,
    impl: Impl = "auto",
    threads: int | None = None,
) -> U8:  # [N, height, width, 3]
    """Resample images, then make pictures of them: image * deviation + mean, cut to 0..255, rounded
    to the nearest level, to even ones between two.

    Arguments are those of `floats_from_pixels`.

    Raises:
        NotFinite: the image holds NaN or infinity; out then holds nothing of use.
        InputError, MissingDependency: as `floats_from_pixels`.
    """
    image = check("image", image, (np.float32,), ("N", 3, "H", "W"))
    n, _, h, w = image.shape
    height, width = _size(size, h, w)
    scale, shift = _deviation(deviation), _channels("mean", mean)
    out = result(out, (n, height, width, 3), np.uint8, (image,))
    rows, columns = taps(h, height, filter), taps(w, width, filter)
    threads = threads_from(threads)
    if kernels := native(impl):
        finite = kernels.pixels_from_floats(
            image, *rows.arrays(), *columns.arrays(), list(scale), list(shift), out, threads
        )
    else:
        with np.errstate(invalid="ignore"):
            drawn = _resample_ref(image, rows, columns)
        if finite := bool(np.isfinite(drawn).all()):
            levels = drawn * scale[:, None, None] + shift[:, None, None]
            out[...] = np.rint(levels.clip(0, 255)).transpose(0, 2, 3, 1)
    if not finite:
        raise NotFinite("the image holds NaN or infinity", hint="Was it drawn by a sound network?")
    return out


class Taps:
    """One axis of a resampling: result i is the sum over k of weight[k, i] source[first[i] + k]."""

    def __init__(self, first: NDArray[np.int64], weight: F64) -> None:
        self.first = first  # [size]
        self.weight = weight  # [count, size]

    def arrays(self) -> tuple[NDArray[np.int32], F32]:
        return self.first.astype(np.int32), np.ascontiguousarray(self.weight, np.float32)

    def along(self, x: NDArray[Any], axis: int) -> F64:
        """Resample one axis of x."""
        total: Any = 0.0
        for k, weight in enumerate(self.weight):
            column = weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            total = total + column * x.take(self.first + k, axis)
        return np.asarray(total, np.float64)


def taps(source: int, size: int, filter: Filter) -> Taps:
    """Return how `size` pixels are made of `source`; point p of the result, counted from the corner
    of its first pixel, is p * source / size of the source."""
    if filter not in ("bilinear", "area"):
        raise InputError(f"filter is {filter!r}, expected bilinear or area")
    scale = source / size
    if filter == "bilinear" or scale == 1:
        centre = ((np.arange(size) + 0.5) * scale - 0.5).clip(0, source - 1)
        count = min(2, source) if scale != 1 else 1
        first = np.minimum(np.floor(centre).astype(np.int64), source - count)
        way = centre - first
        return Taps(first, np.stack([1 - way, way])[:count])
    edges = np.arange(size + 1) * source / size
    count = min(int(np.ceil(scale)) + 1, source)
    first = np.minimum(np.floor(edges[:-1]).astype(np.int64), source - count)
    left = first + np.arange(count)[:, None]  # [count, size], of each pixel of the source
    covered = np.minimum(left + 1, edges[1:]) - np.maximum(left, edges[:-1])
    return Taps(first, covered.clip(0) / scale)


def _resample_ref(image: NDArray[Any], rows: Taps, columns: Taps) -> F64:
    return columns.along(rows.along(image, 2), 3)


def _size(size: tuple[int, int] | None, h: int, w: int) -> tuple[int, int]:
    height, width = size or (h, w)
    if height < 1 or width < 1:
        raise InputError(f"size is {height} x {width}, expected 1 or more")
    return height, width


def _channels(name: str, values: Channels) -> F64:
    """One number for each channel [3]."""
    array = np.asarray(values, np.float64)
    if array.shape not in ((), (3,)) or not np.isfinite(array).all():
        raise InputError(f"{name} is {values}, expected one number or three")
    return np.broadcast_to(array, (3,))


def _deviation(values: Channels) -> F64:
    array = _channels("deviation", values)
    if (array == 0).any():
        raise InputError(f"deviation is {values}, expected numbers other than 0")
    return array
