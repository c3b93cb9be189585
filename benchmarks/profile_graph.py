"""Where the time of a graph goes: node counts, reorders, reference kernels, unfused chains.

    python benchmarks/profile_graph.py demo --graph project_step [--backend ov-bf16] [--size 256]

OpenVINO tells how long each of its executed nodes took, and with which kernel: reorders are changes
of layout between two kernels, `ref` are its slow reference kernels, and an Eltwise node of its own
is one that no other took in. Beside the profile stands what the exporter wrote: ONNX nodes by kind.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from rounds import machine

from mien.bundles import bundle_path
from mien_engines import Bundle, backends
from mien_engines.backends.ov import DEVICE, read_static
from mien_engines.parity import Referee

REPEATS = 30
SHOWN = 14  # rows of a table
LAYOUT = ("Reorder", "Transpose", "Reshape")
ELEMENTWISE = ("Eltwise", "Math", "Broadcast", "FakeQuantize", "Convert", "Select")


@dataclass(frozen=True)
class Profile:
    """Milliseconds of a call by kind of node. chains: elementwise nodes that follow each other.

    slowest: single nodes, with their milliseconds and kernels.
    """

    graph: str
    backend: str
    onnx_nodes: int
    executed: int
    total_ms: float
    reorders_ms: float
    reference_ms: float
    elementwise_ms: float
    chains: int
    kinds: dict[str, float]
    slowest: dict[str, float]


def feeds_of(bundle: Bundle, graph: str, size: int | None) -> dict[str, NDArray[Any]]:
    """The bundle's samples; at another size, zeros and noise of the shapes that it makes."""
    ort = backends.get("ort")
    referee = Referee(bundle, lambda name: ort.open(bundle.graph_path(name), bundle.graph(name)))
    if size is None:
        return dict(referee.feeds(graph))
    rng = np.random.default_rng(0)
    found = {}
    for tensor in bundle.graph(graph).inputs:
        shape = [_size(side, size) for side in tensor.shape]
        dtype = np.dtype(tensor.dtype)
        values = rng.random(shape, np.float32)
        found[tensor.name] = (255 * values if dtype == np.uint8 else values).astype(dtype)
    return found


def _size(side: int | str, size: int) -> int:
    if isinstance(side, int):
        return side
    if side == "N":
        return 1
    return size // int(side.partition("/")[2] or 1)


def profile(
    path: Path, feeds: Mapping[str, NDArray[Any]], precision: str, threads: int
) -> tuple[list[Any], float]:
    """The executed nodes with their milliseconds, and the sum.

    The least of some calls each: other work on the machine only adds.
    """
    from mien_engines.backends.ov import _core, _part_weights

    model = read_static(path, {name: array.shape for name, array in feeds.items()})
    _part_weights(model)
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "PERF_COUNT": True,
    }
    request = _core().compile_model(model, DEVICE, config).create_infer_request()
    request.infer(dict(feeds))
    times: list[list[float]] = []
    for _ in range(REPEATS):
        request.infer(dict(feeds))
        nodes = request.get_profiling_info()
        times.append([1e3 * node.real_time.total_seconds() for node in nodes])
    least = np.min(times, 0)
    rows = [
        (node.node_type, node.exec_type, node.node_name, float(ms))
        for node, ms in zip(nodes, least, strict=True)
        if str(node.status).endswith("EXECUTED") and "NOT_RUN" not in str(node.status)
    ]
    return rows, float(least.sum())


def summarise(
    bundle: Bundle, graph: str, backend: str, feeds: Mapping[str, NDArray[Any]], threads: int
) -> Profile:
    path = bundle.graph_path(graph)
    rows, total = profile(path, feeds, backends.get(backend).precision, threads)
    kinds: Counter[str] = Counter()
    for kind, kernel, _, ms in rows:
        kinds[f"{kind} {kernel}"] += ms
    slowest = sorted(rows, key=lambda row: -row[3])[:SHOWN]
    chains = sum(
        before[0] in ELEMENTWISE and after[0] in ELEMENTWISE for before, after in pairwise(rows)
    )
    return Profile(
        graph=f"{bundle.name}/{graph}",
        backend=backend,
        onnx_nodes=len(onnx.load(path, load_external_data=False).graph.node),
        executed=len(rows),
        total_ms=total,
        reorders_ms=sum(ms for kind, _, _, ms in rows if kind in LAYOUT),
        reference_ms=sum(ms for _, kernel, _, ms in rows if "ref" in kernel),
        elementwise_ms=sum(ms for kind, _, _, ms in rows if kind in ELEMENTWISE),
        chains=chains,
        kinds=dict(kinds.most_common(SHOWN)),
        slowest={f"{kind} {kernel} {name}": ms for kind, kernel, name, ms in slowest},
    )


def show(found: Profile) -> None:
    def part(ms: float) -> str:
        return f"{ms:.2f} ms ({ms / found.total_ms:.0%})"

    print(f"\n{found.graph}, {found.backend}: {found.onnx_nodes} ONNX nodes, {found.executed} run")
    print(
        f"{found.total_ms:.2f} ms in all; changes of layout {part(found.reorders_ms)}, reference "
        f"kernels {part(found.reference_ms)}, elementwise nodes of their own "
        f"{part(found.elementwise_ms)}, {found.chains} of them behind another"
    )
    for title, rows in (("kind and kernel", found.kinds), ("node", found.slowest)):
        print(f"\n| {title} | ms |\n| --- | ---: |")
        for name, ms in rows.items():
            print(f"| {name} | {ms:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", nargs="?", default="demo")
    parser.add_argument("--graph", action="append", help="unasked, those that run often")
    parser.add_argument("--backend", default="ov", choices=["ov", "ov-bf16"])
    parser.add_argument("--size", type=int, help="of sides that are free, in px")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a line of JSON a graph")
    options = parser.parse_args()
    bundle = Bundle.open(bundle_path(options.bundle))
    graphs = options.graph or [n for n, graph in bundle.spec.graphs.items() if graph.measured]
    where = machine("openvino", "onnx")
    print(json.dumps({"machine": where}) if options.json else where)
    for graph in graphs:
        feeds = feeds_of(bundle, graph, options.size)
        found = summarise(bundle, graph, options.backend, feeds, options.threads)
        print(json.dumps(asdict(found))) if options.json else show(found)


if __name__ == "__main__":
    main()
