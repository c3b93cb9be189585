"""Timing side by side: who is compared takes turns, so that a busy machine is busy for all."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from mien_engines.machine import available_cores, cpu_name

CALLS = 3  # timed in each turn, after one that is not: thread pools of the others still spin


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, `CALLS` a round; who begins moves on by one each round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            calls[name]()
            for _ in range(CALLS):
                began = time.perf_counter()
                calls[name]()
                times[name].append(time.perf_counter() - began)
    return times


def median_and_p95(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def machine(*distributions: str) -> str:
    """The processor, the versions, and how busy it is: what a figure means nothing without."""
    models = [line.partition(":")[2] for line in cpu_name().splitlines() if "model name" in line]
    model = models[0].strip() if models else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{model}, {available_cores()} cores; {platform.system()}, "
        f"Python {platform.python_version()}; {versions}; load average {load}"
    )
