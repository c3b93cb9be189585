"""How many calls, in which blocks: what fits into the time, and is enough to say something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np

from mien.bench.scenarios import (
    Call,
    NewCall,
    Sample,
    as_they_arrive,
    film_after_film,
    one_after_another,
    several_callers,
)
from mien.bench.settings import Plan

TRIALS = 3  # calls that tell how many fit into the time
MIN_CALLS, MAX_CALLS = 30, 6000
BLOCK_S, MAX_BLOCK = 0.01, 50  # a block of calls should last so long
MIN_ROUNDS, SERVER_ROUNDS = 10, 4
MIN_FILMS, MAX_FILMS = 5, 1000
LOAD = 0.5  # of the slowest contestant's capacity, where no rate was named
CACHE_BYTES = 1 << 26  # swept to empty the caches: twice the last level of most processors


def trial(call: Call) -> float:
    """Seconds of a call, about."""
    call()
    times = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def half_load(slowest: float, plan: Plan) -> float:
    """The rate at which the slowest contestant is at work for half of the time."""
    return float(f"{LOAD * plan.streams / slowest:.3g}")


def time_calls(
    calls: Mapping[str, NewCall], slowest: float, plan: Plan, rate: float | None
) -> dict[str, Sample]:
    """Make the calls of a plan's scenario, as many as it says or as fit into its time.

    slowest: seconds of a call of the slowest. rate: of the server.
    """
    if plan.scenario == "server":
        assert rate is not None
        count = plan.calls or int(np.clip(plan.seconds * rate, MIN_CALLS, MAX_CALLS))
        rounds = min(SERVER_ROUNDS, count)
        return as_they_arrive(
            calls,
            rate=rate,
            rounds=rounds,
            calls=count // rounds,
            workers=plan.streams,
            seed=plan.seed,
        )
    count = plan.calls or int(np.clip(plan.seconds / slowest, MIN_CALLS, MAX_CALLS))
    block = int(np.clip(BLOCK_S / slowest, 1, MAX_BLOCK))
    rounds = max(min(MIN_ROUNDS, count), count // max(block, 3))
    if plan.scenario == "multi-stream":
        size = -(-max(count // rounds, plan.streams) // plan.streams) * plan.streams
        return several_callers(calls, streams=plan.streams, rounds=rounds, calls=size)
    before = _sweep() if plan.cold else None
    return one_after_another(calls, rounds=rounds, calls=-(-count // rounds), before=before)


def time_films(
    calls: Mapping[str, NewCall], slowest: float, plan: Plan, frames: int
) -> dict[str, Sample]:
    """Make films, as many as a plan's calls, which are frames, or its time ask for.

    slowest: seconds of a film of the slowest. frames: of a film that are counted.
    """
    if plan.calls is not None:
        return film_after_film(calls, films=max(2, -(-plan.calls // frames)))
    films = int(np.clip(plan.seconds / slowest, MIN_FILMS, MAX_FILMS))
    return film_after_film(calls, films=films)


def _sweep() -> Call:
    """A call that reads and writes more memory than the caches hold."""
    waste = np.ones(CACHE_BYTES // 8)
    return lambda: np.add(waste, 1.0, out=waste)
