"""Which shapes the kernels are timed on, and what a row says of one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEGABYTES = (1, 4, 16, 64, 256)  # read and written together
DTYPES = ("float32", "float16", "bfloat16")
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
TOLERANCE = {"float32": 2e-5, "float16": 2e-3, "bfloat16": 1e-2}  # of the range of the result
LEVEL = 1.01 / 255  # a tie between two levels may fall on either side

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """What is timed. shape: of the array that is read, in the order of its layout."""

    kernel: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = "NCHW"

    @property
    def name(self) -> str:
        return f"{self.kernel} {self.shape} {self.dtype} {self.layout}"

    @property
    def moved(self) -> int:
        """Bytes that must be read and written, whoever does it."""
        numbers = math.prod(self.shape)
        size = SIZES[self.dtype]
        if self.kernel in ("adain", "adain noise"):
            return 2 * numbers * size
        if self.kernel == "adain up":
            return 5 * numbers * size
        if self.kernel == "mix":
            return 3 * numbers * size
        if self.kernel == "adam":
            return 7 * numbers * size  # ws, m and v both ways, and the gradient
        if self.kernel == "paste":
            return numbers * (2 + size)  # each pixel both ways, at one pixel of the image each
        return numbers * (1 + size)  # pixels and floats


@dataclass(frozen=True)
class Row:
    """Times are medians and 95th percentiles of replays, divided by the calls in one."""

    kernel: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    moved_mb: float
    error: float  # of the range of the result
    us: float
    p95_us: float
    gb_per_s: float
    of_copy: float  # 1 is the speed of the copy
    times_eager: float | None
    times_compiled: float | None


def cases(megabytes: Sequence[int] = MEGABYTES, dtypes: Sequence[str] = DTYPES) -> Iterator[Case]:
    """AdaIN by size, dtype and layout; planes of all paths; then the other kernels."""
    for dtype in dtypes:
        size = SIZES[dtype]
        for mb in megabytes:
            channels = max(1, mb * 1_000_000 // (2 * size * 64 * 64))
            yield Case("adain", (1, channels, 64, 64), dtype)
            yield Case("adain", (1, 64, 64, channels), dtype, "NHWC")
        for side, channels in ((4, 512), (16, 512), (128, 256), (256, 128), (512, 64), (1024, 32)):
            yield Case("adain", (1, channels, side, side), dtype)
        yield Case("adain up", (8, 256, 64, 64), dtype)
        yield Case("adain noise", (8, 256, 64, 64), dtype)
        yield Case("adain noise", (8, 64, 64, 256), dtype, "NHWC")
        for kernel in ("floats_from_pixels", "pixels_from_floats", "crop", "paste"):
            yield Case(kernel, (1024, 1024, 3), dtype)
    yield Case("mix", (64, 18, 512), "float32")
    yield Case("adam", (8, 18, 512), "float32")


def calls_of(moved: int, cache: int) -> int:
    """How many calls, each on arrays of its own, a graph needs to leave the cache behind."""
    return max(1, min(64, math.ceil(2 * cache / moved)))


def row_from(case: Case, error: float, times: Mapping[str, Sequence[float]]) -> Row:
    """A row of what was timed, seconds a call of "mien", "copy", and "eager", "compiled" if run."""
    ordered = sorted(times["mien"])
    seconds = statistics.median(ordered)

    def ratio(name: str) -> float | None:
        if name not in times:
            return None
        return statistics.median(a / b for a, b in zip(times[name], times["mien"], strict=True))

    of_copy = ratio("copy")
    assert of_copy is not None
    return Row(
        case.kernel, case.shape, case.dtype, case.layout, case.moved / 1e6, error, 1e6 * seconds,
        1e6 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], case.moved / seconds / 1e9,
        of_copy, ratio("eager"), ratio("compiled"),
    )  # fmt: skip


def range_error(found: Array, wanted: Array) -> float:
    """The largest difference, of the range of what is wanted, which counts as 1 at the least."""
    reach = max(1.0, float(np.abs(wanted).max()))
    return float(np.abs(found.astype(np.float64) - wanted).max()) / reach
