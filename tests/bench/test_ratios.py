"""Verdicts on samples whose truth is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mien.bench import ratios
from mien.bench.ratios import compare, noise_floor, verdict


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "RESAMPLES", 300)


def pair(
    rng: np.random.Generator, times: float, rounds: int = 25, calls: int = 4
) -> tuple[list[list[float]], list[list[float]]]:
    """Rounds of two contestants, the second `times` as slow: noise with a tail, and a machine that
    slows down and recovers, which both see."""
    drift = 1 + 0.3 * np.abs(np.cumsum(rng.standard_normal(rounds)) / rounds)[:, None]
    mine, theirs = (drift * rng.lognormal(0, 0.08, (rounds, calls)) for _ in range(2))
    return mine.tolist(), (times * theirs).tolist()


def judged(rng: np.random.Generator, times: float, trials: int, **how: bool) -> Counter[str]:
    return Counter(
        compare("a", mine, "b", theirs, seed=i, **how).verdict  # type: ignore[arg-type]
        for i, (mine, theirs) in enumerate(pair(rng, times) for _ in range(trials))
    )


def test_equal_contestants_are_hardly_ever_called_different(rng: np.random.Generator) -> None:
    found = judged(rng, 1.0, 200)
    # An interval misses 5 % of the time, and it has to miss by more than the least floor.
    assert found["faster"] + found["slower"] <= 0.05 * 200
    assert found["same"] > 0.5 * 200


@pytest.mark.parametrize("times", [1.25, 2.0])
def test_a_difference_is_found_in_the_right_direction(
    rng: np.random.Generator, times: float
) -> None:
    assert judged(rng, times, 40)["faster"] >= 39
    assert judged(rng, 1 / times, 40)["slower"] >= 39


def test_the_interval_holds_the_true_ratio(rng: np.random.Generator) -> None:
    hits = 0
    for i in range(150):
        mine, theirs = pair(rng, 1.4)
        found = compare("a", mine, "b", theirs, seed=i)
        assert found.low <= found.ratio <= found.high
        hits += found.low <= 1.4 <= found.high
    assert hits >= 0.9 * 150


def test_pairs_of_rounds_make_the_interval_narrower_where_the_machine_drifts(
    rng: np.random.Generator,
) -> None:
    drift = np.exp(0.5 * rng.standard_normal((30, 1)))
    mine, theirs = (drift * rng.lognormal(0, 0.02, (30, 3)) for _ in range(2))
    widths = [
        found.high - found.low
        for found in (compare("a", mine, "b", theirs, paired=p) for p in (True, False))
    ]
    assert widths[0] < 0.5 * widths[1]


def test_rounds_of_another_number_are_not_taken_for_pairs(rng: np.random.Generator) -> None:
    mine, _ = pair(rng, 1.0, rounds=10)
    _, theirs = pair(rng, 1.0, rounds=14)
    assert not compare("a", mine, "b", theirs, paired=True).paired


@pytest.mark.parametrize(
    ("low", "high", "floor", "expected"),
    [
        (1.2, 1.4, 0.05, "faster"),
        (1.03, 1.2, 0.05, "unclear"),
        (0.6, 0.8, 0.05, "slower"),
        (0.97, 1.03, 0.01, "same"),
        (0.9, 1.1, 0.01, "unclear"),
        (0.85, 1.15, 0.2, "same"),
    ],
)
def test_a_verdict_needs_an_interval_beyond_the_noise(
    low: float, high: float, floor: float, expected: str
) -> None:
    assert verdict(low, high, floor) == expected


def test_the_noise_floor_is_how_far_a_contestant_is_from_itself() -> None:
    assert noise_floor([[1.0, 1.0]], [[1.1, 1.1]]) == pytest.approx(0.1)
    assert noise_floor([[1.1, 1.1]], [[1.0, 1.0]]) == pytest.approx(0.1)
    assert noise_floor([[2.0]], [[2.0]]) == 0
