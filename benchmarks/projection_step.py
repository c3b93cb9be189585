"""The projection step, side by side in one process: mien's backends and torch eager.

    python benchmarks/projection_step.py                # the bundle that comes with mien
    python benchmarks/projection_step.py --vgg export/zoo/vgg/vgg.safetensors   # VGG's features
    python benchmarks/projection_step.py --grad-step    # the reference sizes, random weights
    python benchmarks/projection_step.py --bundle B --checkpoint FILE.pkl

PyTorch also runs under autocast to bf16, and with modulated weights: the form of the published
implementations, whose gradient takes in that of the weights. `--compile` adds torch.compile.

Every backend is first held against the reference, by the bundle's own gate; its loss after the
gate's steps stands beside its time. What the gate refuses is timed all the same, and marked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import calm  # noqa: F401
import numpy as np
import torch
from models import ZOO_CHECKPOINT, eager_loop, reference_step, vgg_step, zoo_step
from rounds import CALLS, machine, median_and_p95, take_turns

from mien.bundles import BUILT_IN
from mien_engines import Bundle, backends
from mien_engines.errors import MienError
from mien_engines.parity import Referee, excess
from mien_export.steps.latent import ProjectionStep

GRAPH = "project_step"
MEASURED = ("ort", "ov", "ov-bf16")
EAGER = "torch eager"
# Who, its precision, and how `eager_loop` computes.
TORCHES = (
    (EAGER, "f32", ""), ("torch, modulated weights", "f32", "weights"),
    ("torch, autocast", "bf16", "bf16"),
)  # fmt: skip
COMPILED = ("torch.compile", "f32", "compile")


@dataclass(frozen=True)
class Row:
    """ratio: of torch's median to this one's.

    best_ratio: of the best times, which other work on the machine disturbs least.
    excess: of the loss after the gate's steps over the reference's, as a part of it.
    """

    who: str
    precision: str
    median_ms: float
    p95_ms: float
    best_ms: float
    n: int
    ratio: float
    best_ratio: float
    excess: float
    gate: str


@dataclass(frozen=True)
class Contestant:
    precision: str
    call: Callable[[], object]
    excess: float
    gate: str


def contestants(
    bundle: Bundle, step: ProjectionStep, options: argparse.Namespace, stack: ExitStack
) -> Iterator[tuple[str, Contestant]]:
    """Open who is compared; say why another cannot be."""
    threads = options.threads
    spec, path = bundle.graph(GRAPH), bundle.graph_path(GRAPH)
    reference = backends.get(backends.REFERENCE)
    referee = Referee(
        bundle, lambda name: reference.open(bundle.graph_path(name), bundle.graph(name), threads)
    )
    judge = stack.enter_context(reference.open(path, spec, threads))
    feeds = referee.feeds(GRAPH)
    loop = judge.loop(feeds)
    for _ in range(spec.gate.steps):
        loop.step()
    expected = loop.read("loss")

    for who, precision, how in (*TORCHES, *([COMPILED] if options.compile else [])):
        take, loss = eager_loop(step, feeds, how)
        for _ in range(spec.gate.steps):
            take()
        found = excess(np.array([loss()]), expected)
        yield who, Contestant(precision, take, found, "not asked")
    for name in MEASURED:
        backend = backends.get(name)
        try:
            session = judge if backend is reference else backend.open(path, spec, threads)
            result = referee.check(GRAPH, session, judge)
        except MienError as error:
            print(f"# {name}: {error}")
            continue
        if backend is reference:
            gate = "the reference"
        else:
            gate = f"{'passes' if result.passed else 'refused'}, tolerance {result.tolerance:.2g}"
        yield name, Contestant(backend.precision, session.loop(feeds).step, result.worst, gate)


def measure(bundle: Bundle, step: ProjectionStep, options: argparse.Namespace) -> list[Row]:
    with ExitStack() as stack:
        who = dict(contestants(bundle, step, options, stack))
        times = take_turns({name: one.call for name, one in who.items()}, options.rounds)
    summaries = {name: median_and_p95(values) for name, values in times.items()}
    best = {name: min(values) for name, values in times.items()}
    eager = summaries[EAGER][0]
    return [
        Row(
            name,
            who[name].precision,
            1e3 * median,
            1e3 * p95,
            1e3 * best[name],
            len(times[name]),
            eager / median,
            best[EAGER] / best[name],
            who[name].excess,
            who[name].gate,
        )
        for name, (median, p95) in summaries.items()
    ]


def show(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps(asdict(row)))
        return
    titles = ("who", "precision", "median ms", "p95 ms", "best ms", "n", "times torch")
    print("| " + " | ".join((*titles, "of the best", "loss, excess", "gate")) + " |")
    print("| --- | --- |" + " ---: |" * 7 + " --- |")
    for r in rows:
        times = f"{r.median_ms:.1f} | {r.p95_ms:.1f} | {r.best_ms:.1f}"
        ratios = f"{r.ratio:.2f} | {r.best_ratio:.2f}"
        print(
            f"| {r.who} | {r.precision} | {times} | {r.n} | {ratios} | {r.excess:+.2%} | {r.gate} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=(BUILT_IN / "demo"))
    parser.add_argument("--checkpoint", type=Path, default=ZOO_CHECKPOINT, help="of the bundle")
    parser.add_argument("--vgg", type=Path, help="take the features of this network instead")
    parser.add_argument("--grad-step", action="store_true", help="the reference sizes instead")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help=f"of {CALLS} timed steps each")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too: minutes more")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.grad_step or options.vgg:
            path = Path(folder) / "bundle"
            step = (
                vgg_step(path, options.checkpoint, options.vgg)
                if options.vgg
                else reference_step(path)
            )
        else:
            path, step = options.bundle, zoo_step(options.checkpoint)
        bundle = Bundle.open(path)
        rows = measure(bundle, step, options)
    versions = machine("torch", "onnxruntime", "openvino")
    print(json.dumps({"machine": versions}) if options.json else f"{versions}\n")
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
