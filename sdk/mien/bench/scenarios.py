"""How calls are made: one after another, by several callers at once, in batches, or as they arrive.

Contestants take turns, a block of calls each, and who begins moves on by one each round: a busy
machine is then busy for all. The first call of a block is not counted where calls follow each
other, since thread pools of the others still spin. One that fails leaves, and the others go on
taking turns: each round that is counted is one that all of them made.

The server is an open loop. Moments of arrival are drawn beforehand (a Poisson process of a rate)
and do not depend on how the calls before went; a latency begins at the arrival, so that what waits
in the queue behind a slow call is slow, too. A closed loop would leave those calls out: Tene's
"coordinated omission".
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.bench.clock import Clock, Machine
from mien.errors import Cancelled, MienError

F64 = NDArray[np.float64]
Call = Callable[[], object]
# Makes the calls of a round, by its number: the seconds of each, and of all of them.
Block = Callable[[str, list[Call], int], tuple[list[float], float]]
# Makes a call for one caller: what keeps state between calls is not to be shared.
NewCall = Callable[[], Call]

Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
SCENARIOS: tuple[Scenario, ...] = ("single-stream", "multi-stream", "offline", "server")


@dataclass
class Sample:
    """The calls of a contestant.

    rounds: seconds of each call, a list a round; of the server from the arrival on.
    service: seconds of each call alone, in the server. seconds: for which calls were under way.
    others: calls of these seconds that are not in the rounds.
    error: why it left; the rounds are those before.
    """

    rounds: list[list[float]] = field(default_factory=list)
    service: list[float] = field(default_factory=list)
    seconds: float = 0.0
    others: int = 0
    error: MienError | None = None

    @property
    def latencies(self) -> list[float]:
        return [value for block in self.rounds for value in block]

    @property
    def per_second(self) -> float:
        """Calls that were finished in a second."""
        made = len(self.latencies) + self.others
        return made / self.seconds if self.seconds > 0 else 0.0


def one_after_another(
    contestants: Mapping[str, NewCall],
    *,
    rounds: int,
    calls: int,
    before: Call | None = None,
    clock: Clock | None = None,
) -> dict[str, Sample]:
    """Single stream, and offline where a call is a batch.

    calls: of a block. before: done before each call and not counted, such as emptying the caches.
    """
    clock = clock or Machine()

    def block(name: str, own: list[Call], turn: int) -> tuple[list[float], float]:
        (call,), times = own, []
        call()
        for _ in range(calls):
            if before is not None:
                before()
            began = clock.now()
            call()
            times.append(clock.now() - began)
        return times, sum(times)

    return _in_turn(contestants, 1, rounds, block)


def film_after_film(
    contestants: Mapping[str, NewCall], *, films: int, clock: Clock | None = None
) -> dict[str, Sample]:
    """Films, a block each: what is counted is the time from one finished frame to the next.

    A call makes a film and returns when each of its frames was done. The first has no time of its
    own: it waits for the file to be opened and for what is decoded ahead. It is one of the frames a
    second, as that of all the film takes until it is written.
    """
    clock = clock or Machine()

    def block(name: str, own: list[Call], turn: int) -> tuple[list[float], float]:
        (film,) = own
        began = clock.now()
        moments = film()
        assert isinstance(moments, list)
        return [after - before for before, after in pairwise(moments)], clock.now() - began

    found = _in_turn(contestants, 1, films, block)
    for sample in found.values():
        sample.others = len(sample.rounds)
    return found


def several_callers(
    contestants: Mapping[str, NewCall],
    *,
    streams: int,
    rounds: int,
    calls: int,
    clock: Clock | None = None,
) -> dict[str, Sample]:
    """Multi-stream: callers in threads of their own, each of which calls again at once.

    calls: of a block, by all callers together.
    """
    clock = clock or Machine()

    def block(name: str, own: list[Call], turn: int) -> tuple[list[float], float]:
        for call in own:
            call()
        left, lock, times = iter(range(calls)), threading.Lock(), []

        def work(call: Call) -> None:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                began = clock.now()
                call()
                times.append(clock.now() - began)

        began = clock.now()
        _threads([lambda call=call: work(call) for call in own])  # type: ignore[misc]
        return times, clock.now() - began

    return _in_turn(contestants, streams, rounds, block)


def as_they_arrive(
    contestants: Mapping[str, NewCall],
    *,
    rate: float,
    rounds: int,
    calls: int,
    workers: int = 1,
    seed: int = 0,
    clock: Clock | None = None,
) -> dict[str, Sample]:
    """Server: requests arrive at a rate (a second), wait in one queue, and are served in order.

    calls: arrivals of a block, which begins with an empty queue. In a round all contestants are
    sent the same arrivals. One worker needs no thread.
    """
    clock = clock or Machine()
    service: dict[str, list[float]] = {name: [] for name in contestants}

    def block(name: str, own: list[Call], turn: int) -> tuple[list[float], float]:
        for call in own:
            call()
        times: list[float] = []
        due, lock = iter(poisson_arrivals(rate, calls, (seed, turn))), threading.Lock()
        began = clock.now()

        def work(call: Call) -> None:
            while True:
                with lock:  # held while the next arrival is not yet due: the others are idle, too
                    after = next(due, None)
                    if after is None:
                        return
                    clock.wait_until(began + after)
                started = clock.now()
                call()
                ended = clock.now()
                times.append(ended - (began + after))
                service[name].append(ended - started)

        _threads([lambda call=call: work(call) for call in own])  # type: ignore[misc]
        return times, clock.now() - began

    found = _in_turn(contestants, workers, rounds, block)
    for name, sample in found.items():
        sample.service = service[name]
    return found


def poisson_arrivals(rate: float, count: int, seed: int | tuple[int, ...]) -> F64:
    """Return moments of arrival in seconds, the first after 0: gaps are exponential, 1/rate."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    return np.asarray(np.cumsum(gaps))


def _in_turn(
    contestants: Mapping[str, NewCall], callers: int, rounds: int, block: Block
) -> dict[str, Sample]:
    found = {name: Sample() for name in contestants}
    own: dict[str, list[Call]] = {}
    for name, new in contestants.items():
        with _leaving(found[name]):
            own[name] = [new() for _ in range(callers)]
    for turn in range(rounds):
        staying = [name for name in found if found[name].error is None]
        first = turn % max(len(staying), 1)
        for name in staying[first:] + staying[:first]:
            with _leaving(found[name]):
                times, seconds = block(name, own[name], turn)
                found[name].rounds.append(times)
                found[name].seconds += seconds
    return found


@contextlib.contextmanager
def _leaving(sample: Sample) -> Iterator[None]:
    """Note the error of a contestant, who is not asked again."""
    try:
        yield
    except Cancelled:
        raise
    except MienError as error:
        sample.error = error


def _threads(works: list[Callable[[], None]]) -> None:
    """Run all at once and wait; the first error is raised. A single one runs in this thread."""
    if len(works) == 1:
        works[0]()
        return
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
