"""Measure a graph: latency with its accuracy, and a page of it. Writes render.json, render.html."""

import mien

plan = mien.bench.Plan(
    bundle="demo",
    graphs=("render",),
    backends=("ort",),
    calls=60,  # enough for p50, p90 and p95; p99 needs 299
)
report = mien.bench.measure(plan)
for case in report.cases:
    s = case.summary
    print(f"{case.who}: p50 {s.median:.1f} ms, p95 {s.percentile(95):.1f} ms of {s.count} calls")
    print(f"p99: {s.percentile(99)}; off by {case.accuracy.value:g} of the reference's range")
report.save("render.json")
mien.bench.save_html(report, "render.html")
