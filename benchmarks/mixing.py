"""Mixing W+ codes: mien's kernel, its NumPy definition, and PyTorch, one thread.

python benchmarks/mixing.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import calm  # noqa: F401
import numpy as np
import torch
from rounds import CALLS, machine, median_and_p95, take_turns

from mien.ops import dispatch
from mien.ops.mix import mix

LAYERS, WIDTH = 18, 512
BATCHES = (1, 8, 64)
REPEAT = 50  # calls that are timed as one: a single one takes microseconds


def calls_of(batch: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, batch, LAYERS, WIDTH), np.float32)
    weight = rng.random(LAYERS, np.float32)
    out = np.empty_like(a)
    x, y, w = (torch.from_numpy(v) for v in (a, b, weight))

    def in_torch() -> torch.Tensor:
        with torch.inference_mode():
            return y + w[None, :, None] * (x - y)

    calls: dict[str, Callable[[], object]] = {
        "mien, NumPy": lambda: mix(a, b, weight, out=out, impl="ref"),
        "torch": in_torch,
    }
    if dispatch.state().startswith("AVX") or "not" not in dispatch.state():
        calls["mien, kernel"] = lambda: mix(a, b, weight, out=out, impl="native", threads=1)
    np.testing.assert_allclose(np.asarray(in_torch()), mix(a, b, weight), rtol=1e-5, atol=1e-6)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help=f"of {CALLS} timed calls each")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = f"{machine('numpy', 'torch')}; kernels {dispatch.state()}"
    print(json.dumps({"machine": where}) if options.json else f"{where}\n")
    if not options.json:
        print("| codes | who | median us | p95 us | times torch |\n| ---: | --- |" + " ---: |" * 3)
    for batch in BATCHES:
        calls = {name: _often(call) for name, call in calls_of(batch).items()}
        times = take_turns(calls, options.rounds)
        eager = median_and_p95(times["torch"])[0]
        for who, values in times.items():
            median, p95 = (1e6 * value / REPEAT for value in median_and_p95(values))
            ratio = 1e6 * eager / REPEAT / median
            row = {"batch": batch, "who": who, "median_us": median, "p95_us": p95, "ratio": ratio}
            if options.json:
                print(json.dumps(row))
            else:
                print(f"| {batch} | {who} | {median:.1f} | {p95:.1f} | {ratio:.2f} |")


def _often(call: Callable[[], object]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(REPEAT):
            call()

    return repeated


if __name__ == "__main__":
    main()
