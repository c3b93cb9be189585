"""Is one faster than the other? A ratio of medians with its interval, and a verdict.

The interval is a bootstrap's (Efron 1979, percentiles of 2000 resamples). What is drawn anew are
whole rounds, not calls: calls that follow each other are alike. Rounds of one process, in which the
contestants took turns, are drawn in pairs, so that what disturbs both cancels out.

The noise floor is what the same contestant is worth against itself: in a run it takes part twice,
under two names, and the ratio of these medians would be 1 without noise. A verdict needs an
interval that lies wholly beyond the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mien.bench.stats import CONFIDENCE

F64 = NDArray[np.float64]
Rounds = Sequence[Sequence[float]]
Verdict = Literal["faster", "slower", "same", "unclear"]

RESAMPLES = 2000
PART = 100  # of them at a time, for the memory's sake
LEAST_FLOOR = 0.01  # a part of the time: no difference below it is called one
ALIKE = 0.05  # an interval that lies within this part is "the same"


class Comparison(BaseModel):
    """What a contestant's time is, in parts of another's.

    ratio: of the medians, theirs over mine: 2 is twice as fast. low, high: its 95 % interval.
    floor: what a difference has to exceed, as a part of the time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    against: str
    ratio: float
    low: float
    high: float
    floor: float
    paired: bool
    verdict: Verdict


def compare(
    case: str,
    mine: Rounds,
    against: str,
    theirs: Rounds,
    *,
    floor: float = 0.0,
    paired: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare the rounds of two contestants.

    floor: from `noise_floor`; LEAST_FLOOR at least is taken.
    paired: they took turns in one process; else rounds are drawn independently of each other.
    """
    rng = np.random.default_rng(seed)
    own, other = _rectangle(mine), _rectangle(theirs)
    paired = paired and len(own) == len(other)
    parts = []
    for size in [min(PART, RESAMPLES - i) for i in range(0, RESAMPLES, PART)]:
        drawn = rng.integers(0, len(own), (size, len(own)))
        also = drawn if paired else rng.integers(0, len(other), (size, len(other)))
        parts.append(_medians(other, also) / _medians(own, drawn))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(x) for x in np.percentile(np.concatenate(parts), (tail, 100 - tail)))
    ratio = float(np.nanmedian(other) / np.nanmedian(own))
    floor = max(floor, LEAST_FLOOR)
    return Comparison(
        case=case,
        against=against,
        ratio=_short(ratio),
        low=_short(low),
        high=_short(high),
        floor=_short(floor),
        paired=paired,
        verdict=verdict(low, high, floor),
    )


def verdict(low: float, high: float, floor: float) -> Verdict:
    """Judge an interval of theirs over mine."""
    if low > 1 + floor:
        return "faster"
    if high < 1 / (1 + floor):
        return "slower"
    alike = 1 + max(floor, ALIKE)
    return "same" if low >= 1 / alike and high <= alike else "unclear"


def noise_floor(first: Rounds, again: Rounds) -> float:
    """How far a contestant is from itself: the ratio of its two medians, less 1."""
    one, two = (float(np.nanmedian(_rectangle(rounds))) for rounds in (first, again))
    return max(one, two) / min(one, two) - 1


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _rectangle(rounds: Rounds) -> F64:
    """Rounds as rows [R, C]; NaN where a round has fewer calls than the longest."""
    found = np.full((len(rounds), max(map(len, rounds))), np.nan)
    for row, times in zip(found, rounds, strict=True):
        row[: len(times)] = times
    return found


def _medians(rounds: F64, drawn: NDArray[np.int64]) -> F64:
    """The median over all calls of each draw of rounds: [R, C], [B, R] -> [B]."""
    calls = rounds[drawn].reshape(len(drawn), -1)
    whole = not np.isnan(rounds).any()
    return np.asarray(np.median(calls, 1) if whole else np.nanmedian(calls, 1))
