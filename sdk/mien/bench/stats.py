"""What is said of a sample of times, and what a sample is too small to say.

Percentiles are those of NumPy's default (linear between order statistics; Hyndman and Fan 1996,
type 7), beside their 95 % intervals, which are free of any assumption about the distribution: the
number of calls below a percentile is binomial. A percentile that may well lie beyond the longest
call that was seen is not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

F64 = NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
CONFIDENCE = 0.95
DIGITS = 6  # of milliseconds: nanoseconds


class Percentile(BaseModel):
    """A percentile in ms with its interval, or how many calls it would take.

    value, low, high: None where the sample does not support it. needs: the fewest calls that do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    p: float
    value: float | None
    low: float | None
    high: float | None
    needs: int

    @property
    def name(self) -> str:
        return f"p{self.p:g}"


class Summary(BaseModel):
    """A sample of times in ms.

    mad: the median distance from the median. jitter: p99 - p50; None where p99 is unsupported.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    least: float
    mean: float
    longest: float
    mad: float
    jitter: float | None
    percentiles: tuple[Percentile, ...]

    @property
    def median(self) -> float:
        """p50 of the sample, however small."""
        found = self.percentile(50)
        return self.mean if found is None else found

    def percentile(self, p: float) -> float | None:
        """A percentile in ms; None where the sample does not support it."""
        return next(one.value for one in self.percentiles if one.p == p)


def needed(p: float) -> int:
    """The fewest calls whose longest lies beyond percentile p with probability CONFIDENCE."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(p / 100))


def summary(times_ms: Sequence[float] | F64) -> Summary:
    """Summarise times in ms. Raises ValueError without any."""
    ordered = np.sort(np.asarray(times_ms, np.float64))
    if not len(ordered):
        raise ValueError("no times were given")
    found = tuple(_percentile(ordered, p) for p in PERCENTILES)
    median, tail = float(np.percentile(ordered, 50)), found[PERCENTILES.index(99.0)].value
    return Summary(
        count=len(ordered),
        least=_rounded(ordered[0]),
        mean=_rounded(ordered.mean()),
        longest=_rounded(ordered[-1]),
        mad=_rounded(np.median(np.abs(ordered - median))),
        jitter=None if tail is None else _rounded(tail - median),
        percentiles=found,
    )


def _percentile(ordered: F64, p: float) -> Percentile:
    count, least = len(ordered), needed(p)
    if count < least:
        return Percentile(p=p, value=None, low=None, high=None, needs=least)
    low, high = interval(count, p)
    value = float(np.percentile(ordered, p))
    ends = (None if i is None else _rounded(ordered[i]) for i in (low, high))
    return Percentile(
        p=p, value=_rounded(value), **dict(zip(("low", "high"), ends, strict=True)), needs=least
    )


def interval(count: int, p: float) -> tuple[int | None, int | None]:
    """Ranks, from 0, of the order statistics between which percentile p lies.

    Each end is missed with a probability of at most (1 - CONFIDENCE) / 2; None where even the
    first or the last order statistic is missed more often than that.
    """
    tail = (1 - CONFIDENCE) / 2
    below = np.cumsum(_binomial(count, p / 100))  # P(at most k of the calls lie below)
    # The k-th order statistic (from 0) is above the percentile if at most k calls lie below it.
    low = int(np.searchsorted(below, tail, side="right")) - 1
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return (low if low >= 0 else None), (high if high < count else None)


def _binomial(count: int, share: float) -> F64:
    """Probabilities of 0 to count successes."""
    k = np.arange(count + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    ways = logs[count] - logs - logs[::-1]
    return np.asarray(np.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share)))


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
