"""How a live run goes: frames, drops, times and their percentiles, in memory that does not grow."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

KEPT = 4096  # times, the latest ones, that percentiles are taken of
Ending = Literal["running", "source", "stop", "viewer", "seconds"]


@dataclass(frozen=True)
class Spread:
    """Percentiles in milliseconds; all 0 before the first frame."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        found = 1e3 * np.percentile(list(seconds), (50, 95, 99)) if seconds else np.zeros(3)
        return cls(*(round(float(value), 3) for value in found))


@dataclass(frozen=True)
class Report:
    """What became of the frames so far.

    captured: that came from the source. drawn: by the edit. reused: hardly differed from the one
    before and got its picture. shown: pictures that reached the viewer. dropped: that something
    newer overtook. failed: that could not be edited. outages: times the source was lost and found.
    frame_ms: between two shown pictures. draw_ms: of the edit, with smoothing. age_ms: of a picture
    when it is shown, from when its frame was taken. fps: shown pictures in a second, from the
    first to the latest.
    ended: by what.
    """

    seconds: float
    fps: float
    captured: int
    drawn: int
    reused: int
    shown: int
    dropped: int
    failed: int
    outages: int
    frame_ms: Spread
    draw_ms: Spread
    age_ms: Spread
    ended: Ending

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    def line(self) -> str:
        """Return it for a person."""
        return (
            f"{self.fps:.1f} fps, frame {self.frame_ms.p50:.0f}/{self.frame_ms.p95:.0f}/"
            f"{self.frame_ms.p99:.0f} ms (p50/p95/p99), age {self.age_ms.p50:.0f} ms, "
            f"{self.dropped} dropped, {self.reused} reused of {self.captured}"
        )


class Meter:
    """Counts, and keeps the latest times. Any thread may write."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = {
            name: deque(maxlen=KEPT) for name in ("frame", "draw", "age")
        }
        self._first: float | None = None  # when a picture was shown, and when the latest was
        self._latest = 0.0
        self._lock = threading.Lock()

    def shown(self, now: float, taken: float) -> None:
        """Note that a picture is shown now, whose frame was taken then."""
        with self._lock:
            if self._first is None:
                self._first = now
            else:
                self._times["frame"].append(now - self._latest)
            self._latest = now
            self._times["age"].append(now - taken)
            self._counts["shown"] += 1

    def count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def time(self, name: str, seconds: float) -> None:
        with self._lock:
            self._times[name].append(seconds)

    def report(self, seconds: float, dropped: int, outages: int, ended: Ending) -> Report:
        with self._lock:
            counts = Counter(self._counts)
            span = self._latest - (self._first or 0.0)
            spreads = {f"{name}_ms": Spread.of(times) for name, times in self._times.items()}
        return Report(
            seconds=seconds,
            fps=max(counts["shown"] - 1, 0) / span if span > 0 else 0.0,
            captured=counts["captured"],
            drawn=counts["drawn"],
            reused=counts["reused"],
            shown=counts["shown"],
            dropped=dropped,
            failed=counts["failed"],
            outages=outages,
            ended=ended,
            **spreads,
        )
