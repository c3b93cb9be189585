"""Scenarios with a clock of their own: what they count is known in closed form."""

from __future__ import annotations

import threading
from itertools import count

import numpy as np
import pytest
from tests.bench.virtual import Virtual

from mien.bench.scenarios import (
    as_they_arrive,
    one_after_another,
    poisson_arrivals,
    several_callers,
)

SERVICE = 0.02  # seconds


def test_calls_one_after_another_count_their_own_time_alone() -> None:
    clock = Virtual()
    fast, slow = clock.taking(lambda: 0.001), clock.taking(lambda: 0.004)
    emptied: list[float] = []

    def sweep() -> None:
        emptied.append(clock.time)
        clock.time += 1.0

    found = one_after_another(
        {"fast": fast, "slow": slow}, rounds=5, calls=3, before=sweep, clock=clock
    )
    assert [len(block) for block in found["fast"].rounds] == [3] * 5
    np.testing.assert_allclose(found["fast"].latencies, 0.001, rtol=1e-6)
    np.testing.assert_allclose(found["slow"].latencies, 0.004, rtol=1e-6)
    assert found["slow"].per_second == pytest.approx(250)
    assert len(emptied) == 2 * 15


def test_who_begins_moves_on_and_the_first_call_of_a_block_is_not_counted() -> None:
    clock, order = Virtual(), []

    def contestant(name: str):  # type: ignore[no-untyped-def]
        def call() -> None:
            order.append(name)
            clock.time += 1

        return lambda: call

    found = one_after_another(
        {name: contestant(name) for name in "ab"}, rounds=2, calls=2, clock=clock
    )
    assert "".join(order) == "aaa" + "bbb" + "bbb" + "aaa"
    assert len(found["a"].latencies) == 4


def test_a_closed_loop_hides_what_an_open_one_shows() -> None:
    """One call in a hundred stalls for a second: those that arrive meanwhile wait."""

    def stalls() -> float:
        return 1.0 if next(number) % 100 == 50 else 0.001

    clock, number = Virtual(), count()
    closed = one_after_another({"x": clock.taking(stalls)}, rounds=1, calls=999, clock=clock)["x"]
    clock, number = Virtual(), count()
    opened = as_they_arrive({"x": clock.taking(stalls)}, rate=50, rounds=1, calls=999, clock=clock)[
        "x"
    ]
    assert np.percentile(closed.latencies, 95) == pytest.approx(0.001)
    # A stall of 1 s at 50 a second holds up 50 of each 100, by half a second on the average.
    assert np.percentile(opened.latencies, 75) > 0.3
    assert np.percentile(opened.service, 95) == pytest.approx(0.001)


def test_poisson_arrivals_have_the_mean_and_the_deviation_of_their_rate() -> None:
    moments = poisson_arrivals(25.0, 200_000, seed=1)
    gaps = np.diff(moments, prepend=0.0)
    assert (gaps > 0).all()
    # The mean of n exponential gaps has the relative error 1/sqrt(n); four of those.
    assert gaps.mean() == pytest.approx(1 / 25, rel=4 / np.sqrt(200_000))
    assert gaps.std() == pytest.approx(1 / 25, rel=0.02)
    # Counts of a second have a Poisson's variance, which is its mean.
    counts = np.bincount(moments.astype(int))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, rel=0.06)
    np.testing.assert_array_equal(moments[:9], poisson_arrivals(25.0, 9, seed=1))
    assert poisson_arrivals(25.0, 9, seed=2)[0] != moments[0]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_server_queues_as_the_theory_of_md1_says(load: float) -> None:
    clock = Virtual()
    sample = as_they_arrive(
        {"x": clock.taking(lambda: SERVICE)},
        rate=load / SERVICE,
        rounds=1,
        calls=30_000,
        seed=3,
        clock=clock,
    )["x"]
    waits = np.array(sample.latencies) - SERVICE
    # Pollaczek and Khinchine, for a service that always takes as long.
    expected = SERVICE * load / (2 * (1 - load))
    assert waits.mean() == pytest.approx(expected, rel=0.07)
    # Arrivals see time averages: as many find the server idle as it is idle.
    assert (waits < 1e-9).mean() == pytest.approx(1 - load, abs=0.02)
    assert sum(sample.service) / sample.seconds == pytest.approx(load, rel=0.02)


def test_a_server_that_is_too_slow_falls_behind_and_says_so() -> None:
    clock = Virtual()
    sample = as_they_arrive(
        {"x": clock.taking(lambda: SERVICE)}, rate=2 / SERVICE, rounds=1, calls=2000, clock=clock
    )["x"]
    assert sample.per_second == pytest.approx(1 / SERVICE, rel=0.01)
    # It serves one while two arrive: of a call's arrival, as much again is waited.
    assert sample.latencies[-1] == pytest.approx(2000 * SERVICE / 2, rel=0.1)


def test_contestants_of_a_round_are_sent_the_same_arrivals() -> None:
    clock = Virtual()
    calls = {name: clock.taking(lambda: SERVICE) for name in ("a", "b")}
    found = as_they_arrive(calls, rate=30, rounds=3, calls=50, clock=clock)
    np.testing.assert_allclose(found["a"].latencies, found["b"].latencies, atol=1e-9)
    assert found["a"].rounds[0] != found["a"].rounds[1]


def test_several_callers_call_at_once_and_make_as_many_calls_as_asked() -> None:
    together, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=120)
    made = count()

    def new():  # type: ignore[no-untyped-def]
        def call() -> None:
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            if next(made) in (2, 3):  # after a warm-up call each: both are inside at once
                both.wait()
            with lock:
                together -= 1

        return call

    found = several_callers({"x": new}, streams=2, rounds=2, calls=6)["x"]
    assert [len(block) for block in found.rounds] == [6, 6]
    assert most == 2


def test_an_error_of_a_caller_is_raised() -> None:
    def new():  # type: ignore[no-untyped-def]
        made = count()

        def call() -> None:
            if next(made) > 1:
                raise ZeroDivisionError("in a thread")

        return call

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        several_callers({"x": new}, streams=2, rounds=1, calls=20)
