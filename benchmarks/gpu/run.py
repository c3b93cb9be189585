"""Build, check and time everything on a GPU, in one call on a machine without a network.

    python benchmarks/gpu/run.py --out results          # or $OUT
    python benchmarks/gpu/run.py --dry --out results    # tiny, on the CPU: proves that it runs
    python benchmarks/gpu/run.py --only check --only transfer

Correctness comes first. Each section is a process of its own: one that fails, hangs or loses the
GPU is recorded, and the rest goes on. What was found is in results.json and results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), *(str(ROOT / p) for p in ("sdk", "engines", "export"))]

from sections import SECTIONS, Row, Run  # noqa: E402

LIMIT_S = 540.0  # of one section: a call of a lent machine ends at 600


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-results")))
    parser.add_argument("--work", type=Path, help="where bundles are written and kept")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="repeat it")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of a section")
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    work = options.work or Path(tempfile.gettempdir()) / "mien-gpu"
    if options.section:
        return one_section(options.section, Run(work, options.dry), options.out)
    results = {
        name: apart(name, options.out, work, dry=options.dry, limit_s=options.limit)
        for name in options.only or SECTIONS
    }
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "results.md").write_text(table(results, dry=options.dry))
    print((options.out / "results.md").read_text())
    return 0


def apart(name: str, out: Path, work: Path, *, dry: bool, limit_s: float) -> dict[str, Any]:
    """Run a section in a process of its own, and return what it found and how it ended."""
    command = [sys.executable, __file__, "--section", name, "--out", out, "--work", work]
    began, ended = time.perf_counter(), "done"
    kept = out / f"{name}.jsonl"
    kept.unlink(missing_ok=True)
    print(f"{name} ...", flush=True)
    with (out / f"{name}.log").open("w") as log:
        try:
            done = subprocess.run(
                [*map(str, command), *(["--dry"] if dry else [])],
                stdout=log, stderr=subprocess.STDOUT, timeout=limit_s, check=False,
            )  # fmt: skip
            if done.returncode:
                ended = f"ended with status {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"did not end within {limit_s:.0f} s"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    if ended != "done":
        rows.append({"failed": (out / f"{name}.log").read_text()[-1000:]})
    return {"ended": ended, "seconds": time.perf_counter() - began, "rows": rows}


def one_section(name: str, run: Run, out: Path) -> int:
    """Run a section here. Rows are written one by one, so that a crash loses none."""
    with (out / f"{name}.jsonl").open("w") as kept:
        try:
            for row in SECTIONS[name](run):
                print(json.dumps(row, default=str), file=kept, flush=True)
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def table(results: dict[str, dict[str, Any]], *, dry: bool) -> str:
    """Markdown: one table a section, of whatever its rows hold."""
    lines = ["# Measured on the CPU, tiny: it proves nothing but that it runs"] if dry else []
    for name, found in results.items():
        lines += [f"\n## {name}\n", f"{found['ended']}, {found['seconds']:.0f} s\n"]
        columns = list(dict.fromkeys(key for row in found["rows"] for key in row))
        if columns:
            lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(_cell(row, key) for key in columns)} |" for row in found["rows"]]
    return "\n".join(lines) + "\n"


def _cell(row: Row, key: str) -> str:
    value = row.get(key, "")
    text = f"{value:.4g}" if isinstance(value, float) else str(value if value is not None else "")
    return " ".join(text.split()).replace("|", "/")[:200]


if __name__ == "__main__":
    sys.exit(main())
