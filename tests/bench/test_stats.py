"""Percentiles against NumPy, their intervals against the binomial distribution, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.bench.stats import PERCENTILES, interval, needed, summary


def test_percentiles_are_numpys_where_the_sample_supports_them(rng: np.random.Generator) -> None:
    times = rng.gamma(3, 2, 3001)
    found = summary(times)
    for one in found.percentiles:
        assert one.value == pytest.approx(np.percentile(times, one.p), abs=1e-6)
        assert one.low is not None
        assert one.low < one.value
    assert found.count == 3001
    assert found.jitter == pytest.approx(np.subtract(*np.percentile(times, (99, 50))), abs=1e-6)
    assert found.mad == pytest.approx(np.median(np.abs(times - np.median(times))), abs=1e-6)
    assert (found.least, found.longest) == (round(times.min(), 6), round(times.max(), 6))


@pytest.mark.parametrize("count", [1, 4, 5, 28, 29, 59, 298, 299, 2994, 2995])
def test_a_percentile_that_the_sample_cannot_support_is_not_given(count: int) -> None:
    found = summary(np.arange(1.0, count + 1))
    for one in found.percentiles:
        # The longest of n calls is beyond percentile p with probability 1 - p^n.
        supported = 1 - (one.p / 100) ** count >= 0.95
        assert (one.value is not None) == supported
        assert one.needs == needed(one.p)
    assert (found.jitter is None) == (count < needed(99))


def test_how_many_calls_a_percentile_needs_is_the_closed_form() -> None:
    assert [needed(p) for p in PERCENTILES] == [5, 29, 59, 299, 2995]


@pytest.mark.parametrize(("count", "p"), [(30, 50), (100, 90), (401, 95), (1000, 99)])
def test_an_interval_misses_its_percentile_as_rarely_as_the_binomial_says(
    count: int, p: float
) -> None:
    low, high = interval(count, p)
    chances = [
        math.comb(count, k) * (p / 100) ** k * (1 - p / 100) ** (count - k)
        for k in range(count + 1)
    ]
    assert low is not None
    # The low end is above the percentile if at most `low` calls lie below it.
    assert sum(chances[: low + 1]) <= 0.025 < sum(chances[: low + 2])
    if high is not None:
        assert sum(chances[high + 1 :]) <= 0.025 < sum(chances[high:])


def test_intervals_hold_the_true_percentile_as_often_as_they_say(
    rng: np.random.Generator,
) -> None:
    truth, hits = math.log(2), 0
    for _ in range(800):
        found = summary(rng.exponential(1, 80)).percentiles[0]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 800 <= 0.985


def test_nothing_is_no_sample() -> None:
    with pytest.raises(ValueError, match="no times"):
        summary([])
