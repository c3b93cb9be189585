"""What a call allocates."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

WARM_UP = 3  # calls, before which caches still fill
COUNTED = 10  # calls


class Allocations(BaseModel):
    """What Python's allocators saw of a call: objects and NumPy's arrays, not a runtime's arenas.

    peak_kb: the most that was held at once, beyond what was held before, by one call.
    kept_kb, kept_blocks: of what a call returns. left_blocks: of each call, still held when calls
        later were made: 0 where nothing grows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak_kb: float
    kept_kb: float
    kept_blocks: int
    left_blocks: float


def allocations(call: Callable[[], object]) -> Allocations:
    """Count what a call allocates; it is made a few times, slowly, and is not timed."""
    for _ in range(WARM_UP):
        call()
    tracemalloc.start()
    try:
        result = call()
        del result
        base, blocks = tracemalloc.get_traced_memory()[0], _blocks()
        tracemalloc.reset_peak()
        held = call()
        now, peak = tracemalloc.get_traced_memory()
        kept = _blocks() - blocks
        del held
        # Between two counts of one kind: what counting itself leaves cancels out.
        before = _blocks()
        for _ in range(COUNTED):
            call()
        left = (_blocks() - before) / COUNTED
    finally:
        tracemalloc.stop()
    return Allocations(
        peak_kb=round(max(peak - base, 0) / 1e3, 1),
        kept_kb=round(max(now - base, 0) / 1e3, 1),
        kept_blocks=max(kept, 0),
        left_blocks=round(max(left, 0), 1),
    )


def _blocks() -> int:
    """Blocks that tracemalloc holds, without its own, this module's, and rubbish."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    own = [tracemalloc.Filter(False, file) for file in (tracemalloc.__file__, __file__)]
    return sum(stat.count for stat in snapshot.filter_traces(own).statistics("filename"))
