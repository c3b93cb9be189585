"""What a run reports: what was done, what failed and why, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

QUANTILES = (50, 95, 99)


@dataclass(frozen=True)
class Failed:
    """An item that could not be done. error: the class's name."""

    name: str
    error: str
    message: str


@dataclass
class Share:
    """What one worker did. busy: seconds of work; opening: seconds until its networks were open."""

    tasks: int = 0
    busy: float = 0.0
    opening: float = 0.0


@dataclass(frozen=True)
class Report:
    """How a run went.

    items: in all. done: made now. kept: there from before. failed: those that could not be done.
    seconds: from the first task to the last. frames: of films, drawn now.
    latencies: seconds of each task that made something: a picture, or a piece of a film.
    workers: by name. executor: "processes" or "ray".
    """

    verb: str
    executor: str
    items: int
    done: int
    kept: int
    failed: tuple[Failed, ...]
    seconds: float
    frames: int = 0
    passed: int = 0
    latencies: tuple[float, ...] = ()
    workers: dict[str, Share] = field(default_factory=dict)

    @property
    def items_per_second(self) -> float:
        """Of those that were made now."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def latency_ms(self) -> dict[str, float]:
        """Median, 95th and 99th percentile and maximum of a task, ms; nothing where none was."""
        if not self.latencies:
            return {}
        found = np.percentile(self.latencies, QUANTILES) * 1000
        named = {f"p{q}": float(ms) for q, ms in zip(QUANTILES, found, strict=True)}
        return named | {"max": 1000 * max(self.latencies)}

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        record = asdict(self) | {
            "items_per_second": self.items_per_second,
            "frames_per_second": self.frames_per_second,
            "latency_ms": self.latency_ms(),
        }
        del record["latencies"]
        return record

    def table(self) -> str:
        """Return it for people, in lines."""
        latency = ", ".join(f"{name} {ms:.0f}" for name, ms in self.latency_ms().items())
        rows = [
            (
                "items",
                f"{self.items}: {self.done} done, {self.kept} kept, {len(self.failed)} failed",
            ),
            ("time", f"{self.seconds:.1f} s, {self.items_per_second:.2f} items/s"),
            ("frames", f"{self.frames}, {self.frames_per_second:.1f} a second" * bool(self.frames)),
            ("not edited", f"{self.passed} frames" * bool(self.passed)),
            ("task, ms", latency),
        ]
        rows += [
            (name, f"{s.tasks} tasks, busy {s.busy:.1f} s, opened in {s.opening:.1f} s")
            for name, s in sorted(self.workers.items())
        ]
        rows += [(f"failed: {f.name}", f"{f.error}: {f.message}") for f in self.failed]
        return _laid_out([row for row in rows if row[1]])


def _laid_out(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)
