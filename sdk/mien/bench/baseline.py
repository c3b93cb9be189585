"""This run beside an earlier one: is anything slower than it was, or gone?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mien.bench.ratios import Comparison, compare
from mien.bench.report import (
    LIVE,
    Accuracy,
    BenchReport,
    Case,
    Computer,
    Settings,
    is_ours,
)
from mien.errors import InputError


def comparable(
    now: Settings, computer: Computer, earlier: BenchReport, works: Sequence[str]
) -> list[str]:
    """Return what to know about the comparison. Raises InputError where it would mean nothing."""
    for name in type(now).model_fields:
        before, after = getattr(earlier.settings, name), getattr(now, name)
        if name not in ("seed", "rate") and before != after:
            raise _unlike(name, before, after)
    for work in works:
        rate = rate_of(earlier, work)
        if None not in (now.rate, rate) and now.rate != rate:
            raise _unlike("rate", rate, now.rate)
    notes = []
    there, here = earlier.computer, computer
    # Reports of before GPUs were named have none, and are not of another machine for that.
    both = there.gpu is not None and here.gpu is not None
    if (there.cpu, there.cores, _gpu(there, both)) != (here.cpu, here.cores, _gpu(here, both)):
        gpu = "" if there.gpu is None else f", {there.gpu.name}"
        notes.append(
            f"the baseline is of another machine ({there.cpu}, {there.cores} cores{gpu}): its "
            "ratios say nothing about the program"
        )
    before, after = _versions(there, both), _versions(here, both)
    changed = [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in before | after
        if before.get(name) != after.get(name)
    ]
    if changed:
        notes.append(f"versions changed since the baseline: {', '.join(changed)}")
    return notes


def _gpu(computer: Computer, compared: bool) -> tuple[str, str] | None:
    """Which GPU it is, whatever drives it."""
    gpu = computer.gpu
    return (gpu.name, gpu.sm) if compared and gpu is not None else None


def _versions(computer: Computer, on_gpu: bool) -> dict[str, str]:
    """Of packages, and of the GPU's driver."""
    gpu = computer.gpu
    driver = {"driver": gpu.driver} if on_gpu and gpu is not None else {}
    return computer.packages | driver


def _unlike(name: str, before: object, after: object) -> InputError:
    return InputError(
        f"the baseline was measured with {name} {before}, this run with {after}",
        hint="Measure both alike",
    )


def rate_of(earlier: BenchReport, work: str) -> float | None:
    """Requests a second that a work was sent; None where it was not measured in the server."""
    cases = [case for case in earlier.cases if case.work == work]
    if not cases:
        return None
    return next((case.rate for case in cases if case.rate is not None), earlier.settings.rate)


def against_baseline(
    cases: Sequence[Case], floors: Mapping[str, float], earlier: BenchReport, allowed: float
) -> list[Comparison]:
    """Compare each case with the same one of an earlier report.

    allowed: processes differ by where their memory lies, which no sample of one process shows; so
    the noise floor is the greatest of this part of the time and the floors of both runs.
    """
    before = {case.name: case for case in earlier.cases}
    found = []
    for case in cases:
        if case.name not in before:
            continue
        floor = max(allowed, floors.get(case.work, 0.0), earlier.floors.get(case.work, 0.0))
        found.append(
            compare(
                case.name,
                case.rounds_ms,
                "baseline",
                before[case.name].rounds_ms,
                floor=floor,
                paired=False,
            )
        )
    return found


def broken(
    earlier: BenchReport, now: BenchReport, asked: Iterable[tuple[str, str]]
) -> Iterator[str]:
    """Say what the baseline had and this run has not.

    asked: works and backends that this run was to measure; no others count, nor do rivals.
    """
    had, has = _results(earlier), _results(now)
    for key in asked:
        if key not in had or not is_ours(key[1]):
            continue
        name, before = ", ".join(key), had[key]
        if key not in has:
            reason = _reason(now, *key)
            yield f"{name} was measured in the baseline and is not now: {reason}"
            continue
        after = has[key]
        if before and after and before.passed and after.passed is False:
            value = after.shown if after.value is None else f"off by {after.shown}"
            yield (
                f"{name} passed its gate in the baseline and does not now: {value}, "
                f"{after.tolerance} allowed"
            )


def _results(report: BenchReport) -> dict[tuple[str, str], Accuracy | None]:
    """Who was measured at which work, and how accurate it was."""
    live = {(LIVE, run.who): None for run in report.timelines}
    return {(case.work, case.who): case.accuracy for case in report.cases} | live


def _reason(report: BenchReport, work: str, who: str) -> str:
    failures = [
        f"it failed ({one.stage}): {one.line}"
        for one in report.failures
        if (one.work, one.who) == (work, who)
    ]
    refusals = [
        one.reason for one in report.refusals if one.who in ("", who) and one.work in ("", work)
    ]
    return next(iter(failures + refusals), "it took no part")
