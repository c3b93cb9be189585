"""The plots of a report: how latencies are spread, how a real-time run went, how near the roof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.bench.report import BenchReport, Case, Roof, Timeline
from mien.bench.svg import Axis, Plot

POINTS = 400  # of a line: more cannot be told apart
FRAMES = 1500  # of a timeline


def spread(cases: Sequence[Case]) -> str:
    """Which part of the calls took at most so long, a line a contestant (an ECDF)."""
    times = [np.sort(np.concatenate([np.asarray(r) for r in case.rounds_ms])) for case in cases]
    low, high = min(t[0] for t in times), max(t[-1] for t in times)
    plot = Plot(
        Axis(0.95 * low, 1.05 * high, "latency, ms", "log"),
        Axis(0, 1, "part of the calls"),
        f"Latencies of {cases[0].work}: "
        + "; ".join(f"{case.who} median {case.summary.median:.3g} ms" for case in cases),
    )
    for colour, ordered in enumerate(times):
        chosen = np.unique(np.linspace(0, len(ordered) - 1, POINTS).round().astype(int))
        points = [(float(ordered[i]), (i + 1) / len(ordered)) for i in chosen]
        plot.steps([(points[0][0], 0.0), *points, (plot.x.high, 1.0)], colour)
    return plot.svg()


def timeline(run: Timeline) -> str:
    """Frame times and ages of a real-time run over its time; frames that were dropped below."""
    every = max(1, -(-len(run.shown) // FRAMES))
    shown = run.shown[::every]
    top = max(max(s.frame_ms, s.age_ms) for s in run.shown)
    plot = Plot(
        Axis(0, run.shown[-1].at_s, "seconds"),
        Axis(0, 1.05 * top, "ms"),
        f"{run.who}: {run.summary['fps']:.1f} frames a second, {run.summary['dropped']} dropped",
    )
    plot.line([(s.at_s, s.age_ms) for s in shown], 1)
    plot.dots([(s.at_s, s.frame_ms) for s in shown], 0, 2.5 if len(shown) < 200 else 1.6)
    before = 0
    for one in run.shown:
        if one.dropped > before:
            plot.mark(one.at_s, "bad")
        before = one.dropped
    return plot.svg()


def roofline(report: BenchReport) -> str | None:
    """Each graph at its operations a byte and a second, under what this processor can do at most.

    None without ceilings or counts.
    """
    roof, cases = report.roof, [case for case in report.cases if _counted(case)]
    if roof is None or not cases:
        return None
    intensities = [_intensity(case) for case in cases]
    knees = [peak / roof.copied for peak in roof.product.values()]
    low, high = min([*intensities, *knees]) / 3, max([*intensities, *knees]) * 3
    speeds = [_speed(case) for case in cases]
    plot = Plot(
        Axis(low, high, "operations a byte", "log"),
        Axis(min(speeds) / 2, max(roof.product.values()) * 2, "operations a second", "log"),
        "Roofline: "
        + "; ".join(f"{case.name} reaches {reached(case, roof):.0%}" for case in cases),
    )
    for precision, peak in roof.product.items():
        knee = peak / roof.copied
        start = max(low, plot.y.low / roof.copied)
        plot.line(
            [(start, start * roof.copied), (knee, peak), (high, peak)],
            "roof",
            "" if precision == "f32" else "5 4",
        )
        plot.text(high, peak, f"product, {precision}", anchor="end", dy=-5)
    plot.text(start, start * roof.copied, "copy", dx=26, dy=2)
    order = list(dict.fromkeys(case.who for case in report.cases))
    for case in cases:
        point = (_intensity(case), _speed(case))
        plot.dots([point], order.index(case.who), 4)
    for work in dict.fromkeys(case.work for case in cases):
        best = max((case for case in cases if case.work == work), key=_speed)
        plot.text(_intensity(best), _speed(best), work.rpartition("/")[2], dx=7, dy=4)
    return plot.svg()


def reached(case: Case, roof: Roof | None) -> float | None:
    """Which part of the roof a case reaches: 1 is as fast as bytes and operations allow.

    None without counts, and on a GPU: the roof is the processor's.
    """
    if roof is None or not _counted(case):
        return None
    peak = roof.product.get(case.precision, max(roof.product.values()))
    return _speed(case) / min(peak, _intensity(case) * roof.copied)


def _counted(case: Case) -> bool:
    if case.on_gpu or case.counts is None:
        return False
    return case.counts.flops > 0 and case.counts.bytes > 0


def _intensity(case: Case) -> float:
    assert case.counts is not None
    return case.counts.flops / case.counts.bytes


def _speed(case: Case) -> float:
    """Operations a second of a call alone, at its median."""
    assert case.counts is not None
    return 1e3 * case.counts.flops / (case.service_ms or case.summary.median)
