"""Sections of the page beside the timings: costs, baseline, starts, real time, failures."""

from __future__ import annotations

from collections.abc import Sequence

from mien.bench.failing import said_once
from mien.bench.markup import cell, milliseconds, table, text
from mien.bench.plots import reached, roofline, timeline
from mien.bench.report import BenchReport, Case
from mien.bench.svg import COLOURS, number


def costs(report: BenchReport, cases: Sequence[Case]) -> str:
    if all(case.allocations is None and case.counts is None for case in cases):
        return ""
    rows = []
    for case in cases:
        a, c = case.allocations, case.counts
        part = reached(case, report.roof)
        rows.append(
            [
                cell(case.who),
                *(
                    cell("" if a is None else x)
                    for x in (
                        a and f"{a.peak_kb:g}",
                        a and f"{a.kept_kb:g}",
                        a and a.kept_blocks,
                        a and f"{a.left_blocks:g}",
                    )
                ),
                cell("" if c is None else number(c.flops)),
                cell("" if c is None else number(c.bytes)),
                cell("" if c is None else c.nodes),
                cell("" if part is None else f"{part:.0%}"),
            ]
        )
    return table(
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


def baseline(report: BenchReport) -> str:
    if not (report.baseline or report.broken):
        return ""
    rows = [
        [
            cell(c.case),
            cell(f"{c.ratio:.3f}"),
            cell(f"{c.low:.3f} to {c.high:.3f}"),
            cell(f"{c.floor:.1%}"),
            cell(c.verdict, {"faster": "good", "slower": "bad"}.get(c.verdict, "")),
        ]
        for c in report.baseline
    ]
    head = ["", "times as fast as before", "95 % interval", "noise floor", "verdict"]
    lines = "".join(f'<p class="bad">{text(line)}</p>' for line in report.broken)
    return "<h2>Beside the baseline</h2>" + (table(head, rows) if rows else "") + lines


def starts(report: BenchReport) -> str:
    if not report.starts:
        return ""
    on_device = any(s.device_mb is not None for s in report.starts)
    rows = [
        [
            cell(s.work),
            cell(s.who, "words"),
            cell(s.cache, "words"),
            cell(s.count),
            cell(f"{s.import_s:.3f}"),
            cell(f"{s.load_s:.2f}"),
            cell(f"{s.call_s:.3f}"),
            cell(f"{s.total_s:.2f}"),
            cell(milliseconds(s.again_ms)),
            *(
                cell("" if mb is None else f"{mb:.0f}")
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
    return "<h2>From nothing to the first result</h2>" + table(head, rows)


def real_time(report: BenchReport, i: int) -> str:
    run = report.timelines[i]
    s = run.summary
    spreads = " · ".join(
        f"{name} p50/p95/p99 {s[key]['p50']:.1f}/{s[key]['p95']:.1f}/{s[key]['p99']:.1f} ms"
        for name, key in (("frame", "frame_ms"), ("draw", "draw_ms"), ("age", "age_ms"))
    )
    return (
        f"<h2>Real time, {text(run.who)}</h2><p>{s['fps']:.1f} frames a second; {s['dropped']} of "
        f"{s['captured']} dropped; {spreads}</p><figure>{timeline(run)}<figcaption>"
        '<span class="key c0"></span>time between two pictures<span class="key c1"></span>age of '
        "a picture when it is shown; red marks below: frames were dropped</figcaption></figure>"
    )


def ceilings(report: BenchReport) -> str:
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
        f'<span class="key c{i % COLOURS}"></span>{text(who)}' for i, who in enumerate(order)
    )
    figure = (
        f"<figure>{drawn}<figcaption>{key}<br>Dashed: the product in bf16.</figcaption></figure>"
        if drawn
        else '<p class="faint">No operations on the processor were counted: that is done for '
        "graphs alone.</p>"
    )
    return f"<h2>Roofline</h2><p>{measured}</p>{figure}"


def failures(report: BenchReport) -> str:
    rows = [
        [
            cell(f.work),
            cell(f.who, "words"),
            cell(f.stage, "words"),
            cell(f.code, "words bad"),
            cell(f.reason, "words"),
            cell(f.hint, "words"),
        ]
        for f in report.failures
    ]
    head = ["", "backend", "at", "error", "why", "what to do"]
    return "<h2>Failed</h2>" + table(head, rows) if rows else ""


def refusals(report: BenchReport) -> str:
    rows = [
        [cell(work or "every work"), cell(who or "all", "words"), cell(reason, "words")]
        for work, who, reason in said_once(report.refusals)
    ]
    return "<h2>Not measured</h2>" + table(["", "backend", "why"], rows) if rows else ""
