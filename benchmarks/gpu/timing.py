"""Times side by side, and the ceilings of the machine that they are held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

WARM_UP = 3


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call. mad: median distance from the median."""

    n: int
    min_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mad_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float], per: int = 1) -> Times:
        """per: how many steps each of the timed calls took."""
        ordered = sorted(1e3 * s / per for s in seconds)
        median = statistics.median(ordered)

        def at(part: float) -> float:
            return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

        mad = statistics.median(abs(value - median) for value in ordered)
        return cls(len(ordered), ordered[0], median, at(0.95), at(0.99), mad)


def take_turns(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, A B C, B C A, C A B, so that a busy machine is busy for all."""
    names = list(calls)
    for name in names:
        for _ in range(WARM_UP):
            calls[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - began)
    return times


def copy_ceiling(device: str, nbytes: int, repeats: int) -> dict[str, float]:
    """Bandwidth of a copy on the device, bytes read and written, GB/s; random content."""
    source = torch.randint(0, 256, (nbytes,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _timed(lambda: target.copy_(source), device, repeats)
    return {"mb": nbytes / 1e6, "gb_per_s": 2 * nbytes / seconds / 1e9}


def product_ceiling(
    device: str, size: int, dtype: torch.dtype, repeats: int, *, tf32: bool = False
) -> dict[str, float]:
    """Rate of a square matrix product, TFLOP/s; random content, which zeros would flatter."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    one, two = (torch.randn(size, size, device=device, dtype=torch.float32) for _ in range(2))
    one, two = one.to(dtype), two.to(dtype)
    seconds = _timed(lambda: one @ two, device, repeats)
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"size": size, "tflop_per_s": 2 * size**3 / seconds / 1e12}


def _timed(call: Callable[[], object], device: str, repeats: int) -> float:
    """Seconds of one call: the median of several, each to its end."""
    times = []
    for turn in range(WARM_UP + repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn >= WARM_UP:
            times.append(time.perf_counter() - began)
    return statistics.median(times)
