"""Latency with its accuracy: `mien.bench.measure(mien.bench.Plan(...))`, and `mien bench`.

    report = mien.bench.measure(mien.bench.Plan(bundle="demo", graphs=("render",)))
    report.save("render.json")

Docs: docs/bench.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.bench.html import save_html
    from mien.bench.ratios import Comparison, compare
    from mien.bench.report import BenchReport
    from mien.bench.run import measure
    from mien.bench.settings import Plan
    from mien.bench.stats import Summary, summary

_HOMES = {
    "BenchReport": "report",
    "Comparison": "ratios",
    "Plan": "settings",
    "Summary": "stats",
    "compare": "ratios",
    "measure": "run",
    "save_html": "html",
    "summary": "stats",
}

__all__ = [
    "BenchReport",
    "Comparison",
    "Plan",
    "Summary",
    "compare",
    "measure",
    "save_html",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
