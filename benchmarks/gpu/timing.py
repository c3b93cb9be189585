"""Times side by side, and the ceilings of the machine that they are held against.

Calls that end with a wait for the device are timed by the host's clock: what a caller waits. What
the device alone takes is timed by its events, with the queue full: a kernel that waits is queued
first, so that the time it takes to launch the rest is not in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count

import torch

Call = Callable[[], object]
WARM_UP = 3  # turns
WARM_UP_PART = 0.2  # of the seconds, after which none of these is begun
FOR_P99 = 200  # samples, fewer of which have no 99th percentile
WAIT_CYCLES = 2_000_000  # of the device's clock, a millisecond: longer than launching takes
ROTATED_BYTES = 512 << 20  # together, of arrays that take turns: far beyond any L2
QUEUED = 8  # calls that are timed together at least


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call. p99: None of few. mad: median distance from the median."""

    n: int
    min_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float | None
    mad_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float], per: int = 1) -> Times:
        """per: how many steps each of the timed calls took."""
        ordered = sorted(1e3 * s / per for s in seconds)
        median = statistics.median(ordered)

        def at(part: float) -> float:
            return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

        mad = statistics.median(abs(value - median) for value in ordered)
        p99 = at(0.99) if len(ordered) >= FOR_P99 else None
        return cls(len(ordered), ordered[0], median, at(0.95), p99, mad)


def take_turns(
    calls: Sequence[Call],
    repeats: int,
    seconds: float,
    around: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> Iterator[tuple[int, Sequence[float]]]:
    """Seconds of every call, A B C, B C A, C A B, so that a busy machine is busy for all.

    Gives which call and its times when it has 1, 2, 4, 8 ... of them, and of all at the end: after
    `repeats` turns, or once the seconds have passed and each was called.

    Args:
        around: entered around each call, outside of its time. Where it holds back an exception,
            that call has no more turns: what it has is given then.
    """
    times: list[list[float]] = [[] for _ in calls]
    left = set(range(len(calls)))
    began = time.perf_counter()
    for turn in range(-WARM_UP, repeats):
        if turn < 0 and time.perf_counter() - began > WARM_UP_PART * seconds:
            continue  # slow calls gain little by it
        for i in range(len(calls)):
            which = (turn + i) % len(calls)
            over = turn > 0 and time.perf_counter() - began > seconds
            if over or which not in left:
                continue
            took = None
            with around(which):
                start = time.perf_counter()
                calls[which]()
                took = time.perf_counter() - start
            if took is None:
                left.remove(which)
                yield which, times[which]
            elif turn >= 0:
                times[which].append(took)
                if len(times[which]).bit_count() == 1:  # a power of two
                    yield which, times[which]
    for which in sorted(left):
        yield which, times[which]


def copy_ceiling(device: str, nbytes: int, repeats: int) -> dict[str, float]:
    """Bandwidth of a copy on the device, bytes read and written, GB/s; random content."""
    pairs = max(1, min(64, ROTATED_BYTES // (2 * nbytes))) if device == "cuda" else 1
    sources = [
        torch.randint(0, 256, (nbytes,), dtype=torch.uint8, device=device) for _ in range(pairs)
    ]
    targets = [torch.empty_like(source) for source in sources]

    def copying(i: int) -> Call:
        return lambda: targets[i].copy_(sources[i])

    seconds = _timed([copying(i) for i in range(pairs)], device, repeats)
    return {"mb": nbytes / 1e6, "buffers": 2 * pairs, "gb_per_s": 2 * nbytes / seconds / 1e9}


def product_ceiling(
    device: str, size: int, dtype: torch.dtype, repeats: int, *, tf32: bool = False
) -> dict[str, float]:
    """Rate of a square matrix product, TFLOP/s; random content, which zeros would flatter."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    one, two = (torch.randn(size, size, device=device, dtype=torch.float32) for _ in range(2))
    one, two = one.to(dtype), two.to(dtype)
    seconds = _timed([lambda: one @ two], device, repeats)
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"size": size, "tflop_per_s": 2 * size**3 / seconds / 1e12}


def device_seconds(call: Call) -> float:
    """What the device takes for what a call queues, without the time to launch it."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(WAIT_CYCLES)  # in front of the event, which thus waits for it
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def _timed(calls: Sequence[Call], device: str, repeats: int) -> float:
    """Seconds of one call, the median of several; the calls take turns."""
    turns = count()

    def next_ones(number: int) -> None:
        for _ in range(number):
            calls[next(turns) % len(calls)]()

    together = max(QUEUED, len(calls)) if device == "cuda" else 1
    times = []
    for turn in range(WARM_UP + repeats):
        if device == "cuda":
            seconds = device_seconds(lambda: next_ones(together))
        else:
            began = time.perf_counter()
            next_ones(together)
            seconds = time.perf_counter() - began
        if turn >= WARM_UP:
            times.append(seconds / together)
    return statistics.median(times)
