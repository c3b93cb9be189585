"""Pictures on the GPU: to images and back, cut out through a matrix, and laid back in.

Points are (x, y) in px, (0, 0) the corner of the first pixel, as in `mien.ops.warp`. Matrices are
affine; inside a kernel coordinates have 32 bits of fraction, so that none is rounded by its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from mien_engines.errors import InputError
from mien_engines.kernels.arrays import FLOATS, check
from mien_engines.kernels.launch import (
    Argument,
    Launch,
    Runner,
    ceil_div,
    floats,
    integers,
    pointer,
    wide_integers,
)

THREADS = 256
MIDDLE = 127.5  # levels; (level - 127.5) / 127.5 is in [-1, 1]
FRACTION = 32  # bits
REACH = 1 << 30  # px: coordinates beyond would leave the numbers that kernels count in
BORDERS = ("constant", "edge", "reflect")  # in the order of picture.cuh
Border = Literal["constant", "edge", "reflect"]
Channels = float | Sequence[float]


def floats_from_pixels(
    runner: Runner,
    picture: Any,  # uint8 [N, H, W, 3], RGB
    *,
    out: Any,  # float32, float16 or bfloat16 [N, 3, H, W]
    mean: Channels = MIDDLE,
    deviation: Channels = MIDDLE,
    stream: int = 0,
) -> None:
    """Queue (level - mean) / deviation, [-1, 1] unless asked: `mien.ops.pixels` at its own size.

    Raises InputError for another dtype or shape, arrays with gaps or on the CPU.
    """
    source = check("picture", picture, ("uint8",), ("N", "H", "W", 3))
    n, h, w, _ = source.shape
    image = check("out", out, FLOATS, (n, 3, h, w), writable=True)
    scale = 1 / _deviation(deviation)
    shift = -_channels("mean", mean) * scale
    _run(
        runner, f"floats_from_pixels_{image.suffix}", (h * w, n),
        (pointer(source.address), pointer(image.address), *integers(h * w),
         *floats(*scale, *shift)), stream,
    )  # fmt: skip


def pixels_from_floats(
    runner: Runner,
    image: Any,  # float32, float16 or bfloat16 [N, 3, H, W]
    *,
    out: Any,  # uint8 [N, H, W, 3]
    odd: Any,  # 4 bytes of zero, uint8 [4]; not zero afterwards where the image is not finite
    mean: Channels = MIDDLE,
    deviation: Channels = MIDDLE,
    stream: int = 0,
) -> None:
    """Queue image * deviation + mean, cut to 0..255, rounded to the nearest level.

    What is not finite becomes a level all the same, since nothing can be raised on a GPU: who reads
    the picture reads `odd` too, and raises NotFinite.

    Raises InputError for another dtype or shape, arrays with gaps or on the CPU.
    """
    source = check("image", image, FLOATS, ("N", 3, "H", "W"))
    n, _, h, w = source.shape
    picture = check("out", out, ("uint8",), (n, h, w, 3), writable=True)
    flag = check("odd", odd, ("uint8",), (4,), writable=True)
    _run(
        runner, f"pixels_from_floats_{source.suffix}", (h * w, n),
        (*(pointer(a.address) for a in (source, picture, flag)), *integers(h * w),
         *floats(*_deviation(deviation), *_channels("mean", mean))), stream,
    )  # fmt: skip


def crop(
    runner: Runner,
    picture: Any,  # uint8 [H, W, 3], RGB
    matrix: ArrayLike,  # [2, 3]
    *,
    out: Any,  # float32, float16 or bfloat16 [3, height, width]
    border: Border = "constant",
    fill: float = 0,
    mean: float = MIDDLE,
    deviation: float = MIDDLE,
    stream: int = 0,
) -> None:
    """Queue `mien.ops.warp.warp`, with the levels normalised and not rounded before.

    Args:
        matrix: from points of the result to points of the picture.
        border, fill: what lies outside; fill is the level of all three channels.

    Raises:
        InputError: another dtype or shape, an unknown border, a matrix that is not finite or
            reaches further than 2^30 px.
    """
    source = check("picture", picture, ("uint8",), ("H", "W", 3))
    image = check("out", out, FLOATS, (3, "H", "W"), writable=True)
    if border not in BORDERS:
        raise InputError(f"border is {border!r}, expected constant, edge or reflect")
    if not 0 <= fill <= 255:
        raise InputError(f"fill is {fill}, expected a level from 0 to 255")
    h, w, _ = source.shape
    _, height, width = image.shape
    scale = 1 / float(_deviation(deviation)[0])
    _run(
        runner, f"crop_{image.suffix}", (width, height),
        (pointer(source.address), pointer(image.address), *integers(h, w, height, width),
         *fixed_map(matrix, (width, height)), *integers(BORDERS.index(border)),
         *floats(fill, scale, -mean * scale)), stream,
    )  # fmt: skip


def paste(
    runner: Runner,
    photo: Any,  # uint8 [H, W, 3], RGB, changed in place
    image: Any,  # float32, float16 or bfloat16 [3, S, S]
    to_crop: ArrayLike,  # [2, 3]
    *,
    feather: float = 0.1,
    mean: float = MIDDLE,
    deviation: float = MIDDLE,
    stream: int = 0,
) -> None:
    """Queue: lay an edited crop over the square that it came from. `mien.ops.paste` defines it.

    The image is drawn bilinearly. `mien.faces.paste` draws it cubically and fits its colours: it is
    for pictures, this for video.

    Args:
        to_crop: from points of the photograph to points of the image.
        feather: the part of the side over which it fades in at each edge, 0 to 0.5.

    Raises:
        InputError: another dtype or shape, a matrix that is not finite, singular, or reaches
            further than 2^30 px.
    """
    target = check("photo", photo, ("uint8",), ("H", "W", 3), writable=True)
    source = check("image", image, FLOATS, (3, "S", "S"))
    h, w, _ = target.shape
    size = source.shape[1]
    if source.shape[2] != size:
        raise InputError(f"image has shape {source.shape}, expected (3, S, S)")
    if not 0 <= feather <= 0.5:
        raise InputError(f"feather is {feather}, expected 0 to 0.5 of the square's side")
    left, top, right, bottom = _touched(_matrix(to_crop), size, h, w)
    if left >= right or top >= bottom:
        return
    _run(
        runner, f"paste_{source.suffix}", (right - left, bottom - top),
        (pointer(target.address), pointer(source.address),
         *integers(w, left, top, right - left, size), *fixed_map(to_crop, (w, h)),
         *floats(feather, float(_deviation(deviation)[0]), mean)), stream,
    )  # fmt: skip


def fixed_map(matrix: ArrayLike, size: tuple[int, int]) -> tuple[Argument, ...]:
    """The six numbers of picture.cuh's Map: from pixels to pixels, both counted from centres.

    size: (width, height) of what is mapped. Raises InputError where a coordinate, or a part of one,
    would be further out than REACH.
    """
    m = _matrix(matrix)
    m[:, 2] += 0.5 * (m[:, 0] + m[:, 1]) - 0.5  # corners to centres
    if not (np.abs(m) @ (*size, 1)).max() < REACH:
        raise InputError(f"the matrix reaches further than {REACH} px")
    return wide_integers(*(round(float(value) * 2**FRACTION) for value in m.ravel()))


def _matrix(matrix: ArrayLike) -> Any:
    m = np.array(matrix, np.float64)
    if m.shape != (2, 3):
        raise InputError(f"the matrix has shape {m.shape}, expected (2, 3)")
    if not np.isfinite(m).all():
        raise InputError("the matrix holds NaN or infinity")
    return m


def _touched(to_crop: Any, size: int, h: int, w: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of a photograph that the square touches."""
    turn = to_crop[:, :2]
    if abs(np.linalg.det(turn)) < 1e-12:
        raise InputError("the matrix is singular", hint="Pass face.to_crop of an aligned face")
    corners = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - to_crop[:, 2]
    places = np.linalg.solve(turn, corners.T)  # [2, 4]
    low = np.floor(places.min(1)).clip(0, (w, h)).astype(int)
    high = np.ceil(places.max(1)).clip(0, (w, h)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _run(
    runner: Runner, kernel: str, size: tuple[int, int], arguments: tuple[Argument, ...], stream: int
) -> None:
    grid = (ceil_div(size[0], THREADS), size[1], 1)
    runner.run([Launch(kernel, grid, (THREADS, 1, 1), arguments)], stream)


def _channels(name: str, values: Channels) -> Any:
    array = np.asarray(values, np.float64)
    if array.shape not in ((), (3,)) or not np.isfinite(array).all():
        raise InputError(f"{name} is {values}, expected one number or three")
    return np.broadcast_to(array, (3,))


def _deviation(values: Channels) -> Any:
    array = _channels("deviation", values)
    if (array == 0).any():
        raise InputError(f"deviation is {values}, expected numbers other than 0")
    return array
