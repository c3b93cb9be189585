"""mien's CUDA kernels on a GPU: first whether they are right, then how fast.

    python benchmarks/gpu/kernels.py [--rounds 30]

Every case is compared with NumPy's definition before it is timed; a wrong one is a row that says
so, and is not timed. Beside it, in turns, run a copy that moves as many bytes, the same in PyTorch,
and that compiled by torch.compile. Calls are captured as a CUDA graph and replayed, so that no time
of Python's is in them: of small arrays nothing else would be seen. Each call of a graph works on
arrays of its own until they are twice the L2 cache together, so that arrays beyond it come from
memory each time; smaller ones may stay in it, for the copy as for the kernel. The device's events
are around a replay, with the queue full.

Needs torch with CUDA and an NVIDIA GPU. `run` gives the rows; `benchmarks/gpu/run.py` calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kernel_cases import DTYPES, LEVEL, MEGABYTES, TOLERANCE, Case, calls_of, cases, row_from
from kernel_works import Call, Gpu, Work

from mien_engines import kernels
from mien_engines.errors import ParityFailed


def run(
    megabytes: Sequence[int] = MEGABYTES,
    dtypes: Sequence[str] = DTYPES,
    *,
    rounds: int = 100,
    against: Sequence[str] = ("eager", "compiled"),
    about: Callable[[str], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    dropped: Callable[[str], str] = lambda name: "",
    make: Callable[[int], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Check each kernel, then time it; a row, as a dictionary, for each case, as it comes.

    A kernel that is wrong, or cannot run, is a row with `failed`, and the others go on.

    Args:
        about: entered while a case is at work, with its name. dropped: why a case is left out.
        make: what a Bench is made with, by the number of rounds; None means the GPU's.

    Raises DeviceLost where the GPU answers no one in this process any more.
    """
    from opening import said

    bench = (make or Bench)(rounds)
    for case in cases(megabytes, dtypes):
        key = {f: getattr(case, f) for f in ("kernel", "shape", "dtype", "layout")}
        key["moved_mb"] = case.moved / 1e6
        if reason := dropped(case.name):
            yield {**key, "failed": reason}
            continue
        with about(case.name):
            try:
                row = asdict(row_from(case, bench.check(case), bench.times(case, against)))
            except Exception as error:  # torch's and the driver's have no common base
                row = {**key, "failed": said(error)}
        yield row


HEADER = (
    "| kernel | shape | dtype | MB | error | us | p95 us | GB/s | of copy | x eager | x compiled |"
    "\n| --- | --- | --- |" + " ---: |" * 8
)


def line_of(row: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, row["shape"])) + (" NHWC" if row["layout"] == "NHWC" else "")
    begin = f"| {row['kernel']} | {shape} | {row['dtype']} | {row['moved_mb']:.1f} |"
    if "failed" in row:
        return f"{begin} failed: {row['failed']} |"
    others = (row["times_eager"], row["times_compiled"])
    return (
        f"{begin} {row['error']:.1e} | {row['us']:.1f} | {row['p95_us']:.1f} | "
        f"{row['gb_per_s']:.0f} | {row['of_copy']:.0%} | "
        f"{' | '.join('-' if x is None else f'{x:.1f}' for x in others)} |"
    )


class Bench:
    """The GPU, through torch: arrays, streams, graphs, and the same work in its own words."""

    def __init__(self, rounds: int) -> None:
        import torch

        self.torch, self.rounds = torch, rounds
        torch.cuda.init()
        torch.zeros(1, device="cuda")  # makes the context that kernels run in
        self.stream = torch.cuda.Stream()
        driver = kernels.driver()
        self.gpu = Gpu(torch, driver, torch.Generator("cuda").manual_seed(0))
        self.cache = driver.card.l2
        torch._dynamo.config.cache_size_limit = 256  # every shape is compiled by itself

    def check(self, case: Case) -> float:
        """The error of a kernel against NumPy. Raises ParityFailed where it is too large."""
        work = Work(self.gpu, case)
        work.mien()
        self.torch.cuda.synchronize()
        error = work.error()
        limit = LEVEL if case.kernel in ("pixels_from_floats", "paste") else TOLERANCE[case.dtype]
        if not error <= limit:  # nor is NaN right
            raise ParityFailed(
                f"{case.name}: off by {error:.2e} of its range, at most {limit:.0e} is right"
            )
        return error

    def times(self, case: Case, against: Sequence[str]) -> dict[str, list[float]]:
        """Seconds a call of each, in turns."""
        from timing import device_seconds  # which needs torch

        works = [Work(self.gpu, case) for _ in range(calls_of(case.moved, self.cache))]
        replays = {
            "mien": self.captured([work.mien for work in works]),
            "copy": self.captured([work.copy for work in works]),
        }
        if "eager" in against:
            replays["eager"] = self.captured([work.eager for work in works])
        if "compiled" in against:
            replays["compiled"] = self.captured([work.compiled() for work in works])
        found: dict[str, list[float]] = {name: [] for name in replays}
        names = list(replays)
        for turn in range(self.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                found[name].append(device_seconds(replays[name]) / len(works))
        return found

    def captured(self, calls: Sequence[Call]) -> Call:
        """The calls as a graph, after a run that allocates and compiles what they need."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                for call in calls:
                    call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for call in calls:
                call()
        graph.replay()
        torch.cuda.synchronize()
        replay: Call = graph.replay
        return replay


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, help="timed replays of each")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    if not options.json:
        print(HEADER)
    for row in run(rounds=options.rounds):
        print(json.dumps(row) if options.json else line_of(row), flush=True)


if __name__ == "__main__":
    main()
