"""Build, check and time everything on a GPU, in calls of limited time, without a network.

    python benchmarks/gpu/run.py --out results --total 560
    python benchmarks/gpu/run.py --only check --only transfer
    python benchmarks/gpu/run.py --dry --out results    # tiny, on the CPU: proves that it runs

Each section is a process of its own: one that fails, hangs or loses the GPU is recorded, begun
again without the backend that ended it, and the rest goes on. Rows are kept one by one in the work
folder. The output folder has two files, written after each section: results.json and results.md.
A later call adds to what the work folder has. The status is 1 where a section was begun and did not
run to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
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

import report  # noqa: E402
from sections import SECTIONS, Run  # noqa: E402

LIMIT_S = 300.0  # of one section
LEAST_S = 15.0  # below which none is begun
NOT_BEGUN = "not begun: the time was up"
FINE = (report.DONE, NOT_BEGUN)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--work", type=Path, help="where rows, bundles and plans are kept")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="repeat it")
    parser.add_argument("--skip", action="append", choices=list(SECTIONS), help="repeat it")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of a section")
    parser.add_argument("--total", type=float, default=float("inf"), help="seconds of all")
    parser.add_argument("--until", type=float, default=float("inf"), help=argparse.SUPPRESS)
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = "mien-gpu-dry" if options.dry else "mien-gpu"
    work = options.work or Path(tempfile.gettempdir()) / name
    if options.section:
        return one_section(Run(work, options.dry, options.section, options.until))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C does it
    ends = time.monotonic() + options.total
    kept = work / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = [n for n in options.only or SECTIONS if n not in (options.skip or ())]
    if "machine" not in wanted and not Run(work, options.dry).probed.exists():
        wanted = ["machine", *wanted]  # it asks which backends run here
    broken = []
    for name in wanted:
        found = apart(Run(work, options.dry, name), options.limit, ends)
        if found["ended"] not in FINE:
            broken.append(f"{name} {found['ended']}")
        results = report.merged(results, {name: found}, SECTIONS)
        for folder in (work, options.out):
            report.write(results, folder, dry=options.dry)
    if options.dry:
        print(report.DRY)
    print("\n".join(report.rows_of(report.goals(results))))
    print(f"\n{options.out / 'results.md'} has all of it")
    print("".join(f"{line}\n" for line in broken), end="", file=sys.stderr)
    return 1 if broken else 0


def apart(run: Run, limit_s: float, ends: float) -> dict[str, Any]:
    """Run a section in processes of its own, and return what it found and how it ended.

    Who was at work when a process died is left out of the next, which has the time that is left.
    """
    began, ended = time.monotonic(), NOT_BEGUN
    until = min(began + limit_s, ends)
    run.clear()
    if ends - began > LEAST_S:
        ended = once(run, until - began)
    while ended not in FINE and (culprit := run.at_work()):
        left = until - time.monotonic()
        if left < LEAST_S:
            print(f"{run.section}: {culprit} {ended}", flush=True)
            break
        print(f"{run.section}: {culprit} {ended}; again without it", flush=True)
        run.drop(culprit, f"{ended}: {tail(run.log, 300)}")
        ended = once(run, left)
    rows = report.read_rows(run.rows)
    if ended not in FINE:
        who = {"who": run.at_work()} if run.at_work() else {}
        rows.append({**who, "failed": f"{ended}: {tail(run.log, 1000)}"})
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"ended": ended, "seconds": time.monotonic() - began, "at": stamp, "rows": rows}


def once(run: Run, limit_s: float) -> str:
    """One process of a section. Returns how it ended."""
    print(f"{run.section} ...", flush=True)
    command = [sys.executable, __file__, "--section", run.section, "--work", str(run.work)]
    command += ["--until", str(time.monotonic() + limit_s)]
    with run.log.open("w") as log:
        process = subprocess.Popen(
            [*command, *(["--dry"] if run.dry else [])],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            # Plans of random weights, which are none of the user's own.
            env={**os.environ, "MIEN_CACHE_DIR": str(run.cache)},
        )  # fmt: skip
        try:
            status = process.wait(limit_s)
        except BaseException as error:  # Ctrl-C does not reach it: it has a session of its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # torch's compilers too
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return f"did not end within {limit_s:.0f} s"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return report.DONE if status == 0 else f"ended with status {status}"


def one_section(run: Run) -> int:
    """Run a section here. Rows are written one by one, so that a crash loses none."""
    with run.rows.open("a") as kept:
        try:
            for row in SECTIONS[run.section](run):
                print(json.dumps(row, default=str), file=kept, flush=True)
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def tail(path: Path, length: int) -> str:
    return path.read_text(errors="replace").strip()[-length:] if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
