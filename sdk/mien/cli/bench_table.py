"""A report of `mien bench` on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mien.bench.failing import said_once
from mien.bench.plots import reached
from mien.bench.ratios import Comparison
from mien.bench.report import BenchReport, Case, Start, calls_said

UNSUPPORTED = "[dim]n/a[/]"
TIMES = ("", "n", "p50", "p90", "p95", "p99", "p99.9", "jitter", "mad", "per s")
CALL = ("", "first", "peak kB", "off by", "of the roof")
STARTS = ("", "cache", "n", "import s", "load s", "call s", "in all s", "MB")
COLOURS = {"faster": "green", "slower": "red"}


def show(report: BenchReport, console: Console | None = None) -> None:
    """Print it."""
    console = console or Console(highlight=False)
    machine, how = report.computer, report.settings
    load = "" if machine.load is None else f", load {machine.load[0]:g} to {machine.load[1]:g}"
    console.print(f"{escape(machine.cpu)}, {machine.cores} cores{load}")
    if machine.gpu is not None:
        gpu = machine.gpu
        console.print(escape(f"{gpu.name}, compute capability {gpu.sm}, driver {gpu.driver}"))
    callers = f", {how.streams} at once" if how.streams > 1 else ""
    console.print(
        f"{how.scenario}{callers}, batch {how.batch}, {how.threads} threads, {how.caches} caches"
    )
    for note in report.notes:
        console.print(f"[red]note[/] {escape(note)}")
    for work in dict.fromkeys(case.work for case in report.cases):
        _work(console, report, work)
    if report.baseline:
        console.print(_ratios("beside the baseline", report.baseline))
    for line in report.broken:
        console.print(f"[red]{escape(line)}[/]")
    for work in dict.fromkeys(s.work for s in report.starts):
        _starts(console, [s for s in report.starts if s.work == work])
    for run in report.timelines:
        s = run.summary
        console.print(
            f"live, {run.who}: {s['fps']:.1f} fps, frame {s['frame_ms']['p50']:.1f}/"
            f"{s['frame_ms']['p95']:.1f}/{s['frame_ms']['p99']:.1f} ms (p50/p95/p99), "
            f"age {s['age_ms']['p50']:.1f} ms, {s['dropped']} of {s['captured']} dropped"
        )
    for failure in report.failures:
        where = f"{failure.work}, {failure.who} ({failure.stage})"
        console.print(f"[red]failed: {escape(where)}: {escape(failure.line)}[/]")
    for work, who, reason in said_once(report.refusals):
        where = ", ".join(filter(None, (work, who)))
        console.print(f"[dim]not measured: {escape(where)}: {escape(reason)}[/]")
    if report.empty:
        console.print("[red]nothing was measured[/]")
    _legend(console, report)
    _memory(console, report)


def _work(console: Console, report: BenchReport, work: str) -> None:
    cases = [case for case in report.cases if case.work == work]
    latencies, calls = _table(TIMES, work + calls_said(cases)), _table(CALL)
    for case in cases:
        latencies.add_row(*_times(case))
        calls.add_row(*_call(report, case))
    for who in report.failed_at(work):
        latencies.add_row(f"{escape(who)} [red]failed[/]")
    console.print(latencies, calls)
    found = [c for c in report.comparisons if c.case in [case.name for case in cases]]
    if found:
        short = [c.model_copy(update={"case": c.case.rpartition(", ")[2]}) for c in found]
        console.print(_ratios("side by side", short))


def _table(names: Sequence[str], title: str = "") -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    return table


def _times(case: Case) -> list[str]:
    s = case.summary
    return [
        escape(case.who) + (" [red]overloaded[/]" if case.overloaded else ""),
        str(s.count),
        *(_ms(one.value) for one in s.percentiles),
        _ms(s.jitter),
        _ms(s.mad),
        f"{case.per_second:.4g}",
    ]


def _call(report: BenchReport, case: Case) -> list[str]:
    a, part, held = case.accuracy, reached(case, report.roof), case.allocations
    off = "" if a is None else a.shown
    if a is not None and a.passed is not None:
        off = f"[{'green' if a.passed else 'red'}]{off}[/]"
    return [
        escape(case.who),
        _ms(case.first_ms),
        "" if held is None else f"{held.peak_kb:,.0f}",
        off,
        "" if part is None else f"{part:.0%}",
    ]


def _ratios(title: str, found: Sequence[Comparison]) -> Table:
    table = Table(title=title, title_justify="left", title_style="dim", box=None)
    for name in ("", "against", "times as fast", "95 % interval", "noise", "verdict"):
        words = name in ("", "against")
        table.add_column(name, justify="left" if words else "right", overflow="fold")
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


def _starts(console: Console, starts: Sequence[Start]) -> None:
    """The fresh processes of a work."""
    on_device = any(s.device_mb is not None for s in starts)
    table = Table(
        title=escape(f"from nothing to the first result, {starts[0].work}"),
        title_justify="left",
        box=None,
    )
    for name in [*STARTS, *(["device MB"] if on_device else [])]:
        table.add_column(name, justify="left" if name in ("", "cache") else "right", no_wrap=True)
    for s in starts:
        sizes = (s.resident_mb, s.device_mb)[: 1 + on_device]
        table.add_row(
            s.who,
            s.cache,
            str(s.count),
            f"{s.import_s:.3f}",
            f"{s.load_s:.2f}",
            f"{s.call_s:.3f}",
            f"{s.total_s:.2f}",
            *("" if mb is None else f"{mb:.0f}" for mb in sizes),
        )
    console.print(table)


def _legend(console: Console, report: BenchReport) -> None:
    if not report.cases:
        return
    needs = {one.name: one.needs for one in report.cases[0].summary.percentiles}
    said = ", ".join(f"{name} {count}" for name, count in needs.items())
    console.print(
        f"[dim]Times in ms. n/a: too few calls for that percentile ({said}). jitter: p99 - p50. "
        "mad: median distance from the median. peak kB: the most that a call held in Python.[/]"
    )


def _memory(console: Console, report: BenchReport) -> None:
    memory = report.memory
    if memory is None or memory.resident_mb is None:
        return
    peak = "" if memory.peak_mb is None else f", {memory.peak_mb:.0f} MB at most"
    device = "" if memory.device_mb is None else f"; {memory.device_mb:.0f} MB on the device"
    console.print(f"memory of this process: {memory.resident_mb:.0f} MB resident{peak}{device}")


def _ms(value: float | None) -> str:
    return UNSUPPORTED if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
