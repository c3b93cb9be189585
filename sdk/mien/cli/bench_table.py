"""A report of `mien bench` on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mien.bench.plots import reached
from mien.bench.ratios import Comparison
from mien.bench.report import BenchReport, Case

UNSUPPORTED = "[dim]n/a[/]"
COLOURS = {"faster": "green", "slower": "red"}


def show(report: BenchReport, console: Console | None = None) -> None:
    """Print it."""
    console = console or Console(highlight=False)
    machine, how = report.computer, report.settings
    load = "" if machine.load is None else f", load {machine.load[0]:g} to {machine.load[1]:g}"
    console.print(f"{escape(machine.cpu)}, {machine.cores} cores{load}")
    rate = "" if how.rate is None else f", {how.rate:g} requests a second"
    callers = f", {how.streams} at once" if how.streams > 1 else ""
    console.print(
        f"{how.scenario}{callers}{rate}, batch {how.batch}, {how.threads} threads, "
        f"{how.caches} caches"
    )
    for note in report.notes:
        console.print(f"[red]note[/] {escape(note)}")
    for work in dict.fromkeys(case.work for case in report.cases):
        _work(console, report, work)
    if report.baseline:
        console.print(_ratios("beside the baseline", report.baseline))
    _starts(console, report)
    for run in report.timelines:
        s = run.summary
        console.print(
            f"live, {run.who}: {s['fps']:.1f} fps, frame {s['frame_ms']['p50']:.1f}/"
            f"{s['frame_ms']['p95']:.1f}/{s['frame_ms']['p99']:.1f} ms (p50/p95/p99), "
            f"age {s['age_ms']['p50']:.1f} ms, {s['dropped']} of {s['captured']} dropped"
        )
    for refusal in report.refusals:
        where = f"{refusal.work}, {refusal.who}" if refusal.work else refusal.who
        console.print(f"[dim]not measured: {escape(where)}: {escape(refusal.reason)}[/]")
    _legend(console, report)


def _work(console: Console, report: BenchReport, work: str) -> None:
    cases = [case for case in report.cases if case.work == work]
    table = Table(title=work, title_justify="left", box=None, pad_edge=False)
    for name in (
        "",
        "n",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "jitter",
        "per s",
        "first",
        "off by",
        "roof",
    ):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for case in cases:
        table.add_row(*_row(report, case))
    console.print(table)
    found = [c for c in report.comparisons if c.case in [case.name for case in cases]]
    if found:
        console.print(_ratios("side by side", found))


def _row(report: BenchReport, case: Case) -> list[str]:
    s, a = case.summary, case.accuracy
    off = "" if a is None else "not finite" if a.value < 0 else f"{a.value:.2g}"
    if a is not None and a.passed is not None:
        off = f"[{'green' if a.passed else 'red'}]{off}[/]"
    counted = report.roof is not None and case.counts is not None and case.counts.flops
    return [
        escape(case.who) + (" [red]overloaded[/]" if case.overloaded else ""),
        str(s.count),
        *(_ms(one.value) for one in s.percentiles),
        _ms(s.jitter),
        f"{case.per_second:.4g}",
        _ms(case.first_ms),
        off,
        f"{reached(case, report.roof):.0%}" if counted and report.roof else "",
    ]


def _ratios(title: str, found: Sequence[Comparison]) -> Table:
    table = Table(title=title, title_justify="left", title_style="dim", box=None)
    for name in ("", "against", "times as fast", "95 % interval", "noise", "verdict"):
        table.add_column(name, justify="left" if name in ("", "against") else "right")
    for c in found:
        colour = COLOURS.get(c.verdict, "default")
        table.add_row(
            escape(c.case),
            escape(c.against),
            f"{c.ratio:.2f}",
            f"{c.low:.2f} to {c.high:.2f}",
            f"{c.floor:.1%}",
            f"[{colour}]{c.verdict}[/]",
        )
    return table


def _starts(console: Console, report: BenchReport) -> None:
    if not report.starts:
        return
    table = Table(title="from nothing to the first result", title_justify="left", box=None)
    for name in ("", "backend", "cache", "n", "import s", "load s", "call s", "in all s", "MB"):
        table.add_column(name, justify="left" if name in ("", "backend", "cache") else "right")
    for s in report.starts:
        table.add_row(
            escape(s.work),
            s.who,
            s.cache,
            str(s.count),
            f"{s.import_s:.3f}",
            f"{s.load_s:.2f}",
            f"{s.call_s:.3f}",
            f"{s.total_s:.2f}",
            "" if s.resident_mb is None else f"{s.resident_mb:.0f}",
        )
    console.print(table)


def _legend(console: Console, report: BenchReport) -> None:
    if not report.cases:
        return
    needs = {one.name: one.needs for one in report.cases[0].summary.percentiles}
    said = ", ".join(f"{name} {count}" for name, count in needs.items())
    console.print(
        f"[dim]Times in ms. n/a: too few calls for that percentile ({said}). jitter: p99 - p50.[/]"
    )


def _ms(value: float | None) -> str:
    return UNSUPPORTED if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
