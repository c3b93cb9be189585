"""A run of the benchmark: contestants are opened, checked, timed in turn and compared."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from mien.bench.allocations import allocations
from mien.bench.baseline import against_baseline, broken, comparable, rate_of
from mien.bench.computer import computer, load, roof
from mien.bench.graphs import Contestant, repeated
from mien.bench.live import live
from mien.bench.memory import device_mb, peak_mb, resident_mb
from mien.bench.ratios import Comparison, compare, noise_floor
from mien.bench.report import (
    LIVE,
    BenchReport,
    Case,
    Counts,
    Memory,
    Refusal,
    Settings,
    Start,
    Timeline,
)
from mien.bench.scenarios import Sample
from mien.bench.settings import Plan
from mien.bench.starts import starts
from mien.bench.stats import summary
from mien.bench.timing import half_load, time_calls, trials
from mien.bench.verbs import check_verb, studio_for
from mien.bench.works import Work, backends_of, contestants_of, rivals_of, works_of
from mien.errors import BackendUnavailable, Cancelled, MienError
from mien_engines.backends import LISTING, REFERENCE, get
from mien_engines.counting import count
from mien_engines.machine import available_cores
from mien_engines.parity import Referee

AGAIN = " again"  # the first contestant's second name, by which the noise is measured

Progress = Callable[[str], object]


@dataclass
class _Found:
    cases: list[Case] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    floors: dict[str, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measure(plan: Plan, progress: Progress = lambda what: None) -> BenchReport:
    """Measure what a plan says.

    progress: called with what is being done; it may raise Cancelled, which passes through.

    Raises, all of it before the first timing:
        InputError: a verb, batch, baseline or rival that does not fit.
        ArchMismatch: a graph that the bundle has not, or a rival of another network.
        ModelError: the bundle, or a rival's checkpoint, is not whole.
        BackendUnavailable: one that was named does not open.
        MissingDependency: a rival without the export extra.
    What fails later is a refusal: of one contestant, or of the work, such as of a graph without
    sample inputs, or where a device is out of memory.
    """
    earlier = None if plan.baseline is None else BenchReport.load(plan.baseline)
    before, found = load(), _Found()
    for verb in plan.verbs:
        check_verb(verb, None if plan.bundle is None else str(plan.bundle))
    names, found.refusals = backends_of(plan)
    works, settings = list(works_of(plan)), _settings(plan)
    lines = [work.name for work in works] + [LIVE] * (LIVE in plan.verbs)
    if earlier is not None:
        found.notes += comparable(settings, computer(before), earlier, lines)
    rivals = [rivals_of(work, plan) for work in works]
    for work in works:
        progress(work.name)
        rate = plan.rate
        if rate is None and earlier is not None:
            rate = rate_of(earlier, work.name)
        try:
            with ExitStack() as stack:
                contestants, refused = contestants_of(work, plan, names, rivals.pop(0), stack)
                found.refusals += refused
                if contestants:
                    _measure_work(work, contestants, plan, rate, found, progress)
            _measure_starts(work, contestants, plan, found, progress)
        except Cancelled:
            raise
        except MienError as error:  # what was measured before is worth its time
            found.refusals.append(Refusal(work=work.name, who="", reason=str(error)))
    if LIVE in plan.verbs:
        for name in names:
            progress(f"{LIVE}, {name}")
            _measure_live(name, plan, found)
    baseline = []
    if earlier is not None:
        baseline = against_baseline(found.cases, found.floors, earlier, plan.allowed)
    machine, ceilings = computer(before), None
    if plan.roofline:
        progress("what this machine can do at most")
        ceilings = roof(found.cases, plan.threads)
    report = BenchReport(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        computer=machine,
        settings=settings,
        cases=tuple(found.cases),
        comparisons=tuple(found.comparisons),
        baseline=tuple(baseline),
        floors=found.floors,
        refusals=tuple(found.refusals),
        starts=tuple(found.starts),
        timelines=tuple(found.timelines),
        roof=ceilings,
        memory=Memory(resident_mb=resident_mb(), peak_mb=peak_mb(), device_mb=device_mb()),
        notes=tuple(found.notes),
    )
    if earlier is None:
        return report
    asked = dict.fromkeys(product(lines, plan.backends or LISTING))
    return report.model_copy(update={"broken": tuple(broken(earlier, report, asked))})


def _settings(plan: Plan) -> Settings:
    return Settings(
        scenario=plan.scenario,
        batch=plan.batch,
        rate=plan.rate,
        seed=plan.seed,
        streams=plan.streams if plan.scenario in ("multi-stream", "server") else 1,
        threads=plan.threads or available_cores(),
        caches="cold" if plan.cold else "warm",
    )


def _measure_work(
    work: Work,
    contestants: list[Contestant],
    plan: Plan,
    rate: float | None,
    found: _Found,
    progress: Progress,
) -> None:
    """Time the contestants of a work. rate: of a server; None is found from the slowest."""
    calls = {one.who: one.new_call for one in contestants}
    calls[contestants[0].who + AGAIN] = contestants[0].new_call
    slowest = max(trials({one.who: one.new_call() for one in contestants}).values())
    if plan.scenario == "server" and rate is None:
        rate = half_load(slowest, plan)
    samples = time_calls(calls, slowest, plan, rate)
    again = samples.pop(contestants[0].who + AGAIN)
    first = samples[contestants[0].who]
    found.floors[work.name] = round(noise_floor(first.rounds, again.rounds), 4)
    for one in contestants:
        progress(f"{work.name}: what a call of {one.who} allocates")
        found.cases.append(_case(work, one, samples[one.who], plan, rate))
    found.comparisons += _comparisons(work, contestants, samples, plan, found)


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
        allocations=allocations(one.new_call()),
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
    contestants: list[Contestant],
    samples: Mapping[str, Sample],
    plan: Plan,
    found: _Found,
) -> Iterator[Comparison]:
    """Each of ours with the first, and with every rival."""
    first, floor = contestants[0].who, found.floors[work.name]
    for against in dict.fromkeys([first, *plan.against]):
        for one in contestants:
            if one.who not in (against, *plan.against) and against in samples:
                yield compare(
                    f"{work.name}, {one.who}",
                    samples[one.who].rounds,
                    against,
                    samples[against].rounds,
                    floor=floor,
                )


def _measure_starts(
    work: Work, contestants: list[Contestant], plan: Plan, found: _Found, progress: Progress
) -> None:
    if not plan.starts:
        return
    feeds = None
    if work.bundle is not None and work.graph is not None:
        bundle = work.bundle

        def reference(name: str):  # type: ignore[no-untyped-def]
            return get(REFERENCE).open(bundle.graph_path(name), bundle.graph(name), plan.threads)

        samples = dict(Referee(bundle, reference).feeds(work.graph))
        feeds = repeated(bundle.graph(work.graph), samples, plan.batch)
    for one in contestants:
        if one.who in plan.against:
            continue
        progress(f"{work.name}: fresh processes with {one.who}")
        try:
            found.starts += starts(
                work.name,
                one.who,
                count=plan.starts,
                bundle=work.bundle.folder if work.bundle else plan.bundle,
                graph=work.graph,
                verb=work.verb,
                feeds=feeds,
                threads=plan.threads,
                side=plan.side,
            )
        except MienError as error:
            found.refusals.append(Refusal(work=work.name, who=one.who, reason=str(error)))


def _measure_live(name: str, plan: Plan, found: _Found) -> None:
    bundle = None if plan.bundle is None else str(plan.bundle)
    try:
        with studio_for(LIVE, bundle, name, plan.threads) as studio:
            run = live(
                studio,
                name,
                seconds=plan.seconds,
                side=plan.side,
                frames_per_second=plan.frames_per_second,
            )
    except MienError as error:
        found.refusals.append(Refusal(work=LIVE, who=name, reason=str(error)))
        return
    found.timelines.append(run)
