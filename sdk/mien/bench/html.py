"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from mien.bench.plots import reached, roofline, spread, timeline
from mien.bench.ratios import Comparison
from mien.bench.report import BenchReport, Case, sent, write_whole
from mien.bench.style import STYLE
from mien.bench.svg import COLOURS, number

UNSUPPORTED = "n/a"
WORDS = ("", "against", "backend", "cache", "precision", "why")  # heads of columns of words


def save_html(report: BenchReport, path: str | Path) -> Path:
    """Write the page; the file is whole or not there. Raises InputError."""
    return write_whole(path, page(report))


def page(report: BenchReport) -> str:
    """Return the page."""
    parts = [
        _heading(report),
        *(_work(report, work) for work in dict.fromkeys(case.work for case in report.cases)),
        _baseline(report),
        _starts(report),
        *(_timeline(report, i) for i in range(len(report.timelines))),
        _roofline(report),
        _refusals(report),
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
        f"<h1>mien bench</h1><p>{_text('; '.join(details))}</p>",
        f'<p class="faint">{_text(machine.cpu)}, {machine.cores} cores, {_text(machine.system)}'
        f"{_text(device)}{load}<br>Python {machine.python}; {_text(packages)}<br>"
        f"{_text(report.made)}</p>",
        *(f'<p class="bad">{_text(note)}</p>' for note in report.notes),
    ]
    return "\n".join(lines)


def _work(report: BenchReport, work: str) -> str:
    cases = [case for case in report.cases if case.work == work]
    floor = report.floors.get(work)
    noise = (
        ""
        if floor is None
        else f" The first, measured twice in turn, differs from itself by {floor:.1%}."
    )
    found = [c for c in report.comparisons if c.case in [case.name for case in cases]]
    key = "".join(
        f'<span class="key c{i % COLOURS}"></span>{_text(case.who)}' for i, case in enumerate(cases)
    )
    return "\n".join(
        [
            f"<h2>{_text(work + sent(cases))}</h2>",
            _table(
                [
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
                ],
                [_case_row(case) for case in cases],
            ),
            f"<figure>{spread(cases)}<figcaption>{key}<br>Part of the calls that took at most so "
            f"long.{noise}</figcaption></figure>",
            _ratios(found),
            _costs(report, cases),
        ]
    )


def _case_row(case: Case) -> list[str]:
    s, a = case.summary, case.accuracy
    passed = "" if a is None or a.passed is None else "good" if a.passed else "bad"
    off = "" if a is None else "not finite" if a.value < 0 else f"{a.value:.2g}"
    return [
        _cell(case.who + (" (overloaded)" if case.overloaded else "")),
        _cell(case.precision, "words"),
        _cell(s.count),
        *(_cell(_ms(one.value)) for one in s.percentiles),
        _cell(_ms(s.jitter)),
        _cell(_ms(s.mad)),
        _cell(f"{case.per_second:.4g}"),
        _cell(_ms(case.open_ms)),
        _cell(_ms(case.first_ms)),
        _cell(off, passed, "" if a is None else f"{a.measure}; {a.detail}"),
        _cell("" if a is None or a.tolerance is None else f"{a.tolerance:.2g}"),
    ]


def _ratios(found: Sequence[Comparison]) -> str:
    if not found:
        return ""
    rows = [
        [
            _cell(c.case.rpartition(", ")[2]),
            _cell(c.against, "words"),
            _cell(f"{c.ratio:.2f}"),
            _cell(f"{c.low:.2f} to {c.high:.2f}"),
            _cell(f"{c.floor:.1%}"),
            _cell(c.verdict, {"faster": "good", "slower": "bad"}.get(c.verdict, "")),
        ]
        for c in found
    ]
    return _table(["", "against", "times as fast", "95 % interval", "noise floor", "verdict"], rows)


def _costs(report: BenchReport, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        a, c = case.allocations, case.counts
        part = reached(case, report.roof)
        rows.append(
            [
                _cell(case.who),
                *(
                    _cell("" if a is None else x)
                    for x in (
                        a and f"{a.peak_kb:g}",
                        a and f"{a.kept_kb:g}",
                        a and a.kept_blocks,
                        a and f"{a.left_blocks:g}",
                    )
                ),
                _cell("" if c is None else number(c.flops)),
                _cell("" if c is None else number(c.bytes)),
                _cell("" if c is None else c.nodes),
                _cell("" if part is None else f"{part:.0%}"),
            ]
        )
    return _table(
        [
            "a call",
            "peak kB",
            "kept kB",
            "kept blocks",
            "left blocks",
            "operations",
            "bytes",
            "nodes",
            "of the roof",
        ],
        rows,
    )


def _baseline(report: BenchReport) -> str:
    if not (report.baseline or report.broken):
        return ""
    rows = [
        [
            _cell(c.case),
            _cell(f"{c.ratio:.3f}"),
            _cell(f"{c.low:.3f} to {c.high:.3f}"),
            _cell(f"{c.floor:.1%}"),
            _cell(c.verdict, {"faster": "good", "slower": "bad"}.get(c.verdict, "")),
        ]
        for c in report.baseline
    ]
    head = ["", "times as fast as before", "95 % interval", "noise floor", "verdict"]
    lines = "".join(f'<p class="bad">{_text(line)}</p>' for line in report.broken)
    return "<h2>Beside the baseline</h2>" + (_table(head, rows) if rows else "") + lines


def _starts(report: BenchReport) -> str:
    if not report.starts:
        return ""
    on_device = any(s.device_mb is not None for s in report.starts)
    rows = [
        [
            _cell(s.work),
            _cell(s.who, "words"),
            _cell(s.cache, "words"),
            _cell(s.count),
            _cell(f"{s.import_s:.3f}"),
            _cell(f"{s.load_s:.2f}"),
            _cell(f"{s.call_s:.3f}"),
            _cell(f"{s.total_s:.2f}"),
            _cell(_ms(s.again_ms)),
            *(
                _cell("" if mb is None else f"{mb:.0f}")
                for mb in (s.imported_mb, s.resident_mb, s.peak_mb, s.device_mb)[: 3 + on_device]
            ),
        ]
        for s in report.starts
    ]
    head = [
        "a fresh process",
        "backend",
        "cache",
        "n",
        "import s",
        "load s",
        "first call s",
        "start to result s",
        "second ms",
        "MB imported",
        "MB resident",
        "MB peak",
        *(["MB on device"] if on_device else []),
    ]
    return "<h2>From nothing to the first result</h2>" + _table(head, rows)


def _timeline(report: BenchReport, i: int) -> str:
    run = report.timelines[i]
    s = run.summary
    spreads = " · ".join(
        f"{name} p50/p95/p99 {s[key]['p50']:.1f}/{s[key]['p95']:.1f}/{s[key]['p99']:.1f} ms"
        for name, key in (("frame", "frame_ms"), ("draw", "draw_ms"), ("age", "age_ms"))
    )
    return (
        f"<h2>Real time, {_text(run.who)}</h2><p>{s['fps']:.1f} frames a second; {s['dropped']} of "
        f"{s['captured']} dropped; {spreads}</p><figure>{timeline(run)}<figcaption>"
        '<span class="key c0"></span>time between two pictures<span class="key c1"></span>age of '
        "a picture when it is shown; red marks below: frames were dropped</figcaption></figure>"
    )


def _roofline(report: BenchReport) -> str:
    drawn, roof = roofline(report), report.roof
    if roof is None:
        return ""
    peaks = ", ".join(f"{kind} {number(peak)}FLOP/s" for kind, peak in roof.product.items())
    measured = (
        f"Measured with {roof.threads} threads: copy {number(roof.copied)}B/s (read and written); "
        f"product of matrices by {roof.by}, {peaks}."
    )
    order = list(dict.fromkeys(case.who for case in report.cases))
    key = "".join(
        f'<span class="key c{i % COLOURS}"></span>{_text(who)}' for i, who in enumerate(order)
    )
    figure = (
        f"<figure>{drawn}<figcaption>{key}<br>Dashed: the product in bf16.</figcaption></figure>"
        if drawn
        else '<p class="faint">No operations on the processor were counted: that needs a graph and '
        "mien[export].</p>"
    )
    return f"<h2>Roofline</h2><p>{measured}</p>{figure}"


def _refusals(report: BenchReport) -> str:
    rows = [
        [_cell(r.work or "every work"), _cell(r.who, "words"), _cell(r.reason, "words")]
        for r in report.refusals
    ]
    return "<h2>Not measured</h2>" + _table(["", "backend", "why"], rows) if rows else ""


def _legend(report: BenchReport) -> str:
    needs = {one.name: one.needs for case in report.cases for one in case.summary.percentiles}
    said = ", ".join(f"{name} from {count}" for name, count in needs.items())
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
        f'<h2>How to read it</h2><p class="faint">{UNSUPPORTED}: too few calls for this percentile '
        f"({said}). Jitter is p99 - p50. Off by: the distance from ONNX Runtime in float32 in the "
        "measure of the bundle's gate (hover for it). Peak, kept and left: what Python's "
        "allocators saw of a call, NumPy's arrays included, a runtime's own memory not."
        f"{held}</p>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    titles = "".join(
        f'<th class="{"words" if title in WORDS else ""}">{_text(title)}</th>' for title in head
    )
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'


def _cell(value: object, kind: str = "", title: str = "") -> str:
    extra = (f' class="{kind}"' if kind else "") + (f' title="{_text(title)}"' if title else "")
    return f"<td{extra}>{_text(str(value))}</td>"


def _ms(value: float | None) -> str:
    return UNSUPPORTED if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _text(words: str) -> str:
    return html.escape(words, quote=True)
