"""This run beside an earlier one: is anything slower than it was?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mien.bench.ratios import Comparison, compare
from mien.bench.report import BenchReport, Case, Computer, Settings
from mien.errors import InputError


def comparable(now: Settings, computer: Computer, earlier: BenchReport) -> list[str]:
    """Return what to know about the comparison. Raises InputError where it would mean nothing."""
    for name in type(now).model_fields:
        before, after = getattr(earlier.settings, name), getattr(now, name)
        if name != "seed" and before != after:
            raise InputError(
                f"the baseline was measured with {name} {before}, this run with {after}",
                hint="Measure both alike",
            )
    notes = []
    if (earlier.computer.cpu, earlier.computer.cores) != (computer.cpu, computer.cores):
        notes.append(
            f"the baseline is of another machine ({earlier.computer.cpu}, "
            f"{earlier.computer.cores} cores): its ratios say nothing about the program"
        )
    changed = [
        f"{name} {old} -> {computer.packages.get(name, 'none')}"
        for name, old in earlier.computer.packages.items()
        if computer.packages.get(name) != old
    ]
    if changed:
        notes.append(f"versions changed since the baseline: {', '.join(changed)}")
    return notes


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
