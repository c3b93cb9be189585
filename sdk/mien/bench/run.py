"""A run of the benchmark: contestants are opened, checked, timed in turn and compared."""

from __future__ import annotations

import datetime
from contextlib import ExitStack
from itertools import product

from mien.bench.baseline import against_baseline, broken, comparable, rate_of
from mien.bench.computer import computer, load, roof
from mien.bench.contest import Found, Progress, contest
from mien.bench.failing import left_out
from mien.bench.graphs import Contestant, repeated
from mien.bench.live import live
from mien.bench.memory import device_mb, peak_mb, resident_mb
from mien.bench.report import LIVE, BenchReport, Memory, Refusal, Settings
from mien.bench.settings import Plan
from mien.bench.starts import starts
from mien.bench.verbs import check_verb, studio_for
from mien.bench.works import Work, backends_of, contestants_of, rivals_of, works_of
from mien.errors import Cancelled, MienError
from mien_engines.backends import LISTING, REFERENCE, get
from mien_engines.machine import available_cores
from mien_engines.parity import Referee

ALL_FAILED = "all who took part failed"


def measure(plan: Plan, progress: Progress = lambda what: None) -> BenchReport:
    """Measure what a plan says.

    progress: called with what is being done; it may raise Cancelled, which passes through.

    Raises, all of it before the first timing:
        InputError: a verb, batch, baseline or rival that does not fit.
        ArchMismatch: a graph that the bundle has not, or a rival of another network.
        ModelError: the bundle, or a rival's checkpoint, is not whole.
        BackendUnavailable: one that was named does not open.
        MissingDependency: a rival without the export extra.
    Who fails later is a failure of the report's: it alone has no figures. A work that cannot be
    measured, such as a graph without sample inputs, is a refusal.
    """
    earlier = None if plan.baseline is None else BenchReport.load(plan.baseline)
    before, found = load(), Found()
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
                contestants, others = contestants_of(work, plan, names, rivals.pop(0), stack)
                for one in others:
                    found.leave_out(one)
                done = contest(work, contestants, plan, rate, found, progress)
            if not done and any(one.work == work.name for one in found.failures):
                found.refusals.append(Refusal(work=work.name, who="", reason=ALL_FAILED))
            _measure_starts(work, done, plan, found, progress)
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
        failures=tuple(found.failures),
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


def _measure_starts(
    work: Work, contestants: list[Contestant], plan: Plan, found: Found, progress: Progress
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
        with found.failing(work.name, one.who, "fresh process"):
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


def _measure_live(name: str, plan: Plan, found: Found) -> None:
    bundle = None if plan.bundle is None else str(plan.bundle)
    try:
        studio = studio_for(LIVE, bundle, name, plan.threads)
    except MienError as error:
        found.leave_out(left_out(LIVE, name, "opening", error))
        return
    with studio, found.failing(LIVE, name, "run"):
        found.timelines.append(
            live(
                studio,
                name,
                seconds=plan.seconds,
                side=plan.side,
                frames_per_second=plan.frames_per_second,
            )
        )
