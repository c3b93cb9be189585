"""What was found, as tables, and merged with what was there before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from goals import goals, rooflines

Row = dict[str, Any]
Results = dict[str, dict[str, Any]]
# What a row is of. A later row of the same adds to it, or says better.
KEYS = ("probe", "ceiling", "subject", "who", "how", "bundle", "graph", "backend", "kernel",
        "shape", "dtype", "layout", "mb")  # fmt: skip
FIGURES = ("p50_ms", "us", "gb_per_s", "tflop_per_s")  # of which a timed row has one
DONE = "done"  # how a section ends that ran to its end
DRY = "# Measured on the CPU, tiny: it proves nothing but that it runs\n"


def settled(rows: Iterable[Row]) -> list[Row]:
    """Rows as they came, those of the same thing made one."""
    found: dict[tuple[tuple[str, str], ...], Row] = {}
    for row in rows:
        key = tuple((name, str(row[name])) for name in KEYS if name in row)
        found[key] = found.get(key, {}) | row
    return list(found.values())


def read_rows(path: Path) -> list[Row]:
    """Lines of JSON. The last may be cut: its writer was killed."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return settled(rows)


def merged(before: Results, after: Results, order: Iterable[str]) -> Results:
    """Sections as they were measured last, each whole: its rows are of one process, or few.

    One that has found less because it failed replaces none; what it replaces not says so in
    "later".
    """
    kept = before | {n: _better(before.get(n), section) for n, section in after.items()}
    return {name: kept[name] for name in order if name in kept}


def _better(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    if old is None:
        return new
    if not new["rows"]:
        return old
    had, has = _worth(old), _worth(new)
    # One that ran to its end may have timed nobody at all: for want of time, or of a GPU.
    if has >= had or (new["ended"] == DONE and (has[0] or not had[0])):
        return new
    return {**old, "later": f"a later try found less, {new['ended']}, at {new['at']}"}


def _worth(section: dict[str, Any]) -> tuple[int, int]:
    """How many rows are timed, and how many are of something that did not fail."""
    rows = section["rows"]
    timed = sum(any(name in row for name in FIGURES) for row in rows)
    return timed, sum("failed" not in row and row.get("state") != "failed" for row in rows)


def write(results: Results, folder: Path, *, dry: bool) -> None:
    """results.json and results.md, whole or as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    # NaN and infinity are no JSON.
    text = json.dumps(_finite(results), indent=1, default=str, allow_nan=False) + "\n"
    for name, content in (("results.json", text), ("results.md", table(results, dry=dry))):
        part = folder / f".{name}.part"
        part.write_text(content)
        os.replace(part, folder / name)


def table(results: Results, *, dry: bool) -> str:
    """Markdown: the goals, parts of the roofline, and a table of each section."""
    lines = [DRY if dry else "", "## Goals", *rows_of(goals(results))]
    if parts := rooflines(results):
        lines += ["\n## Part of the roofline", *rows_of(parts)]
    for name, found in results.items():
        later = f"; {found['later']}" if "later" in found else ""
        lines += [f"\n## {name}\n", f"{found['ended']}, {found['seconds']:.0f} s{later}"]
        lines += rows_of(found["rows"])
    return "\n".join(lines) + "\n"


def rows_of(rows: list[Row]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return []
    return [
        f"\n| {' | '.join(columns)} |",
        f"|{' --- |' * len(columns)}",
        *(f"| {' | '.join(_cell(row, key) for key in columns)} |" for row in rows),
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value


def _cell(row: Row, key: str) -> str:
    value = row.get(key, "")
    text = f"{value:.4g}" if isinstance(value, float) else str(value if value is not None else "")
    return " ".join(text.split()).replace("|", "/")[:200]
