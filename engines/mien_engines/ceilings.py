"""What this machine can do at most: copy memory, and multiply matrices. Both are measured.

They are the two lines of a roofline (Williams et al. 2009): no graph moves bytes faster than a copy
does, and none computes faster than a product of large matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import BackendUnavailable
from mien_engines.machine import available_cores
from mien_engines.spec import Precision

COPY_BYTES = 1 << 27  # beyond the last level of caches
SIDE = 1536  # of the matrices: 7.2 GFLOP a product
REPEATS = 7


@dataclass(frozen=True)
class Ceilings:
    """Bytes and floating-point operations in a second, by so many threads.

    copied: read and written, both counted. product: by precision, of those that were asked for and
    that a runtime here computes in. by: whose product.
    """

    threads: int
    copied: float
    product: dict[Precision, float]
    by: str


def measure(precisions: tuple[Precision, ...] = ("f32",), threads: int | None = None) -> Ceilings:
    """Measure both; a few seconds. The best of some repeats counts, since both are ceilings."""
    threads = threads or available_cores()
    copied = copy_speed(threads)
    found: dict[Precision, float] = {}
    by = "OpenVINO"
    for precision in precisions:
        try:
            found[precision] = _openvino_product(precision, threads)
        except BackendUnavailable:
            if precision == "f32":
                found[precision], by = _numpy_product(), "NumPy"
    return Ceilings(threads, copied, found, by)


def copy_speed(threads: int, size: int = COPY_BYTES) -> float:
    """Bytes a second that a copy reads and writes, parts of it by threads of their own."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, size, np.uint8)
    target = np.zeros_like(source)
    edges = [size * i // threads for i in range(threads + 1)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size / _best(lambda: list(pool.map(lambda p: _copy(target, source, p), parts)))


def _copy(target: NDArray[np.uint8], source: NDArray[np.uint8], part: slice) -> None:
    np.copyto(target[part], source[part])


def _numpy_product() -> float:
    a, b = _matrices()
    out = np.zeros_like(a)
    return 2 * SIDE**3 / _best(lambda: np.matmul(a, b, out=out))


def _openvino_product(precision: Precision, threads: int) -> float:
    """Raises BackendUnavailable where OpenVINO is not here, or does not compute so."""
    from mien_engines import backends
    from mien_engines.backends.ov import matrix_product

    name = {"f32": "ov", "bf16": "ov-bf16"}.get(precision)
    if name is None:
        raise BackendUnavailable(f"OpenVINO on this processor does not compute in {precision}")
    backends.get(name).probe()
    call = matrix_product(*_matrices(), precision, threads)
    return 2 * SIDE**3 / _best(call)


def _matrices() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random ones: products of zeros are faster than real ones."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, SIDE, SIDE), np.float32)
    return a, b


def _best(call: Callable[[], object]) -> float:
    """Seconds of the fastest call, after two that are not counted."""
    times = []
    for _ in range(REPEATS + 2):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times[2:])
