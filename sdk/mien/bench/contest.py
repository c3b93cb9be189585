"""The contest at a work: all who take part are timed in turn; who fails leaves it, alone."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mien.bench.allocations import allocations
from mien.bench.failing import failure
from mien.bench.films import FRAMES
from mien.bench.graphs import Contestant
from mien.bench.ratios import Comparison, compare, noise_floor
from mien.bench.report import Case, Counts, Failure, Refusal, Stage, Start, Timeline
from mien.bench.scenarios import Sample
from mien.bench.settings import Plan
from mien.bench.stats import summary
from mien.bench.timing import half_load, time_calls, time_films, trial
from mien.bench.works import Work
from mien.errors import BackendUnavailable, Cancelled, MienError
from mien_engines.counting import count

NOISY = 0.25  # a noise floor beyond which a run is told to be of little use
AGAIN = " again"  # the first contestant's second name, by which the noise is measured

Progress = Callable[[str], object]


@dataclass
class Found:
    """What a run has found so far."""

    cases: list[Case] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    floors: dict[str, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, one: Refusal | Failure) -> None:
        """List one that could take no part, or failed."""
        if isinstance(one, Failure):
            self.failures.append(one)
        else:
            self.refusals.append(one)

    @contextlib.contextmanager
    def failing(self, work: str, who: str, stage: Stage) -> Iterator[None]:
        """List a contestant that fails here, and go on without it."""
        try:
            yield
        except Cancelled:
            raise
        except MienError as error:
            self.failures.append(failure(work, who, stage, error))


def contest(
    work: Work,
    contestants: Sequence[Contestant],
    plan: Plan,
    rate: float | None,
    found: Found,
    progress: Progress,
) -> list[Contestant]:
    """Time the contestants of a work and compare them. Return those that did not fail.

    rate: of a server; None is found from the slowest.
    """
    seconds: dict[str, float] = {}
    for one in contestants:
        with found.failing(work.name, one.who, "warm-up"):
            seconds[one.who] = one.first_ms / 1e3 if work.is_film else trial(one.new_call())
    staying = [one for one in contestants if one.who in seconds]
    if not staying:
        return []
    slowest = max(seconds.values())
    if plan.scenario == "server" and rate is None:
        rate = half_load(slowest, plan)
    first = staying[0].who
    calls = {one.who: one.new_call for one in staying} | {first + AGAIN: staying[0].new_call}
    if work.is_film:
        samples = time_films(calls, slowest, plan, FRAMES - 1)
    else:
        samples = time_calls(calls, slowest, plan, rate)
    again = samples.pop(first + AGAIN)
    samples[first].error = samples[first].error or again.error
    done = []
    for one in staying:
        error = samples[one.who].error
        if error is not None:
            found.failures.append(failure(work.name, one.who, "timing", error))
            continue
        progress(f"{work.name}: what a call of {one.who} allocates")
        with found.failing(work.name, one.who, "allocations"):
            found.cases.append(_case(work, one, samples[one.who], plan, rate))
            done.append(one)
    if done:
        floor = round(_floor(done[0].who, first, samples, again), 4)
        found.floors[work.name] = floor
        if floor > NOISY:
            found.notes.append(
                f"{work.name}: {done[0].who} differs from itself by {floor:.0%}: something else "
                "kept the machine busy, and these figures say little. Measure again"
            )
        found.comparisons += _comparisons(work, done, samples, plan, found)
    return done


def _floor(who: str, first: str, samples: Mapping[str, Sample], again: Sample) -> float:
    """How far the first of those that stayed is from itself.

    Where the one with two names has failed, the next has only one: its even rounds stand beside its
    odd ones, which makes the floor higher, if anything, since each is half of the calls.
    """
    rounds = samples[who].rounds
    if who == first:
        return noise_floor(rounds, again.rounds)
    return noise_floor(rounds[::2], rounds[1::2])


def _case(work: Work, one: Contestant, sample: Sample, plan: Plan, rate: float | None) -> Case:
    busy = sum(sample.service) / (sample.seconds * plan.streams) if sample.service else None
    service = statistics.median(sample.service) if sample.service else None
    mean = statistics.fmean(sample.service) if sample.service else 0.0
    return Case(
        work=work.name,
        who=one.who,
        precision=one.precision,
        summary=summary(1e3 * np.array(sample.latencies)),
        per_second=round(sample.per_second * plan.batch, 4),
        rounds_ms=tuple(tuple(round(1e3 * t, 5) for t in block) for block in sample.rounds),
        open_ms=round(one.open_ms, 3),
        first_ms=round(one.first_ms, 3),
        rate=rate,
        service_ms=None if service is None else round(1e3 * service, 5),
        busy=None if busy is None else round(busy, 4),
        overloaded=rate is not None and mean * rate >= plan.streams,
        accuracy=one.accuracy,
        allocations=None if work.is_film else allocations(one.new_call()),
        counts=_counts(work, one),
    )


def _counts(work: Work, one: Contestant) -> Counts | None:
    """What the graph does with such inputs; None for a verb, and where nothing can count it."""
    if work.bundle is None or work.graph is None:
        return None
    try:
        found = count(work.bundle.graph_path(work.graph), one.shapes)
    except (BackendUnavailable, RuntimeError):
        return None
    return Counts(
        flops=found.flops,
        bytes=found.bytes(one.precision),
        products=found.products,
        nodes=found.nodes,
        uncounted=found.uncounted,
    )


def _comparisons(
    work: Work,
    contestants: Sequence[Contestant],
    samples: Mapping[str, Sample],
    plan: Plan,
    found: Found,
) -> Iterator[Comparison]:
    """Each of ours with the first, and with every rival."""
    first, floor = contestants[0].who, found.floors[work.name]
    taking_part = {one.who for one in contestants}
    for against in dict.fromkeys([first, *plan.against]):
        for one in contestants:
            if one.who not in (against, *plan.against) and against in taking_part:
                yield compare(
                    f"{work.name}, {one.who}",
                    samples[one.who].rounds,
                    against,
                    samples[against].rounds,
                    floor=floor,
                )
