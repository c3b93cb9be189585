"""What an import costs: wall time and peak memory of fresh processes, taking turns.

python benchmarks/import_cost.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from rounds import machine

STATEMENTS = ("pass", "import numpy", "import mien", "import mien; mien.Studio", "import torch")
# The process's own peak; the one that the parent is told would include the parent's.
PEAK = "print(next(s for s in open('/proc/self/status') if s.startswith('VmHWM')).split()[1])"


def run(statement: str) -> tuple[float, float]:
    """Seconds from start to end of a process, and its peak resident memory in MB."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{PEAK}"], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - began, int(done.stdout) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    for statement in STATEMENTS:
        run(statement)  # the files are in the page cache and compiled from here on
    found: dict[str, list[tuple[float, float]]] = {statement: [] for statement in STATEMENTS}
    for _ in range(options.rounds):
        for statement in STATEMENTS:
            found[statement].append(run(statement))
    versions = machine("numpy", "torch")
    print(json.dumps({"machine": versions}) if options.json else f"{versions}\n")
    if not options.json:
        print("| python -c | median s | peak MB | n |\n| --- | ---: | ---: | ---: |")
    for statement, values in found.items():
        seconds = statistics.median(v[0] for v in values)
        peak = statistics.median(v[1] for v in values)
        if options.json:
            row = {"statement": statement, "seconds": seconds, "peak_mb": peak, "n": len(values)}
            print(json.dumps(row))
        else:
            print(f"| {statement} | {seconds:.3f} | {peak:.1f} | {len(values)} |")


if __name__ == "__main__":
    main()
