"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.bench.markup import UNSUPPORTED, cell, milliseconds, table, text
from mien.bench.plots import spread
from mien.bench.ratios import Comparison
from mien.bench.report import BenchReport, Case, calls_said
from mien.bench.sections import (
    baseline,
    ceilings,
    costs,
    failures,
    real_time,
    refusals,
    starts,
)
from mien.bench.style import STYLE
from mien.bench.svg import COLOURS
from mien.whole_files import write_whole

HEAD = (
    "",
    "precision",
    "n",
    "p50 ms",
    "p90",
    "p95",
    "p99",
    "p99.9",
    "jitter",
    "MAD",
    "per s",
    "open",
    "first ms",
    "off by",
    "tolerance",
)


def save_html(report: BenchReport, path: str | Path) -> Path:
    """Write the page; the file is whole or not there. Raises InputError."""
    return write_whole(path, page(report))


def page(report: BenchReport) -> str:
    """Return the page."""
    parts = [
        _heading(report),
        *(_work(report, work) for work in dict.fromkeys(case.work for case in report.cases)),
        baseline(report),
        starts(report),
        *(real_time(report, i) for i in range(len(report.timelines))),
        ceilings(report),
        failures(report),
        refusals(report),
        '<p class="bad">Nothing was measured.</p>' if report.empty else "",
        _legend(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>mien bench</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _heading(report: BenchReport) -> str:
    machine, how = report.computer, report.settings
    load = (
        ""
        if machine.load is None
        else f"; load {machine.load[0]:g} before, {machine.load[1]:g} after"
    )
    details = [f"{how.scenario}, batch {how.batch}, {how.threads} threads, {how.caches} caches"]
    if how.streams > 1:
        details.append(f"{how.streams} callers")
    if how.scenario == "server":
        details.append(f"requests as a Poisson process, seed {how.seed}")
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    gpu = machine.gpu
    device = "" if gpu is None else f"; {gpu.name}, sm {gpu.sm}, driver {gpu.driver}"
    lines = [
        f"<h1>mien bench</h1><p>{text('; '.join(details))}</p>",
        f'<p class="faint">{text(machine.cpu)}, {machine.cores} cores, {text(machine.system)}'
        f"{text(device)}{load}<br>Python {machine.python}; {text(packages)}<br>"
        f"{text(report.made)}</p>",
        *(f'<p class="bad">{text(note)}</p>' for note in report.notes),
    ]
    return "\n".join(lines)


def _work(report: BenchReport, work: str) -> str:
    cases = [case for case in report.cases if case.work == work]
    floor = report.floors.get(work)
    noise = (
        "" if floor is None else f" The first, measured twice, differs from itself by {floor:.1%}."
    )
    found = [c for c in report.comparisons if c.case in [case.name for case in cases]]
    key = "".join(
        f'<span class="key c{i % COLOURS}"></span>{text(case.who)}' for i, case in enumerate(cases)
    )
    return "\n".join(
        [
            f"<h2>{text(work + calls_said(cases))}</h2>",
            table(
                HEAD,
                [
                    *(_case_row(case) for case in cases),
                    *(_failed_row(who) for who in report.failed_at(work)),
                ],
            ),
            f"<figure>{spread(cases)}<figcaption>{key}<br>Part of the calls that took at most so "
            f"long.{noise}</figcaption></figure>",
            _ratios(found),
            costs(report, cases),
        ]
    )


def _case_row(case: Case) -> list[str]:
    s, a = case.summary, case.accuracy
    passed = "" if a is None or a.passed is None else "good" if a.passed else "bad"
    off = "" if a is None else a.shown
    return [
        cell(case.who + (" (overloaded)" if case.overloaded else "")),
        cell(case.precision, "words"),
        cell(s.count),
        *(cell(milliseconds(one.value)) for one in s.percentiles),
        cell(milliseconds(s.jitter)),
        cell(milliseconds(s.mad)),
        cell(f"{case.per_second:.4g}"),
        cell(milliseconds(case.open_ms)),
        cell(milliseconds(case.first_ms)),
        cell(off, passed, "" if a is None else f"{a.measure}; {a.detail}"),
        cell("" if a is None or a.tolerance is None else f"{a.tolerance:.2g}"),
    ]


def _failed_row(who: str) -> list[str]:
    return [cell(who), cell("failed", "words bad"), *(cell("") for _ in HEAD[2:])]


def _ratios(found: Sequence[Comparison]) -> str:
    if not found:
        return ""
    rows = [
        [
            cell(c.case.rpartition(", ")[2]),
            cell(c.against, "words"),
            cell(f"{c.ratio:.2f}"),
            cell(f"{c.low:.2f} to {c.high:.2f}"),
            cell(f"{c.floor:.1%}"),
            cell(c.verdict, {"faster": "good", "slower": "bad"}.get(c.verdict, "")),
        ]
        for c in found
    ]
    return table(["", "against", "times as fast", "95 % interval", "noise floor", "verdict"], rows)


def _legend(report: BenchReport) -> str:
    needs = {one.name: one.needs for case in report.cases for one in case.summary.percentiles}
    each = ", ".join(f"{name} from {count}" for name, count in needs.items())
    said = f"{UNSUPPORTED}: too few calls for this percentile ({each}). " if each else ""
    memory = report.memory
    held = (
        ""
        if memory is None or memory.resident_mb is None
        else f" At its end this process held {memory.resident_mb:.0f} MB"
        + ("" if memory.peak_mb is None else f", {memory.peak_mb:.0f} MB at most")
        + ("" if memory.device_mb is None else f", and {memory.device_mb:.0f} MB on the device")
        + "."
    )
    return (
        f'<h2>How to read it</h2><p class="faint">{said}Jitter is p99 - p50. Off by: the distance '
        "from ONNX Runtime in float32 in the "
        "measure of the bundle's gate (hover for it). Peak, kept and left: what Python's "
        "allocators saw of a call, NumPy's arrays included, a runtime's own memory not."
        f"{held}</p>"
    )
