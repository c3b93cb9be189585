"""What does not depend on the machine's mood: nodes, operations, bytes and sizes of all graphs.

    python benchmarks/deterministic.py [--bundle demo] [--json]

Of the bundles that come with mien, for one sample and free sides of 256 px: ONNX nodes, the nodes
that OpenVINO executes, products, operations, bytes of the products (mien_engines.counting), and the
graph's file. A later version is held against these rows: what grows has to have a reason.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import onnx
from rounds import machine

from mien.bundles import built_in, bundle_path
from mien_engines import Bundle
from mien_engines.backends.ov import read_static
from mien_engines.counting import count

FREE = 256  # px


def rows(bundle: Bundle, *, compiled: bool) -> Iterator[dict[str, Any]]:
    for name, graph in bundle.spec.graphs.items():
        path = bundle.graph_path(name)
        shapes = {t.name: tuple(size(side) for side in t.shape) for t in graph.inputs}
        found = count(path, shapes)
        model = onnx.load(path, load_external_data=False)
        yield {
            "graph": f"{bundle.name}/{name}",
            "onnx_nodes": len(model.graph.node),
            "executed": executed(path, shapes) if compiled else None,
            "products": found.products,
            "gflop": found.flops / 1e9,
            "mb_moved": found.bytes("f32") / 1e6,
            "kb_file": path.stat().st_size / 1e3,
            "uncounted": found.uncounted,
        }


def executed(path: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Nodes that OpenVINO runs for such inputs, of what it made of the graph."""
    from mien_engines.backends.ov import DEVICE, _core

    model = _core().compile_model(read_static(path, shapes), DEVICE).get_runtime_model()
    return sum(op.get_type_name() not in ("Constant",) for op in model.get_ordered_ops())


def size(side: int | str) -> int:
    if isinstance(side, int):
        return side
    return 1 if side == "N" else FREE // int(side.partition("/")[2] or 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", action="append", help="unasked, all that come with mien")
    parser.add_argument("--compiled", action="store_true", help="compile, too: a minute more")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    where = machine("onnx", "openvino")
    print(json.dumps({"machine": where}) if options.json else f"{where}\n")
    titles = ("graph", "ONNX nodes", "executed", "products", "GFLOP", "MB moved", "file kB")
    if not options.json:
        print("| " + " | ".join(titles) + " |\n| --- |" + " ---: |" * (len(titles) - 1))
    for name in options.bundle or built_in():
        for row in rows(Bundle.open(bundle_path(name)), compiled=options.compiled):
            if options.json:
                print(json.dumps(row))
            else:
                ran = "-" if row["executed"] is None else row["executed"]
                print(
                    f"| {row['graph']} | {row['onnx_nodes']} | {ran} | {row['products']} | "
                    f"{row['gflop']:.3f} | {row['mb_moved']:.1f} | {row['kb_file']:.0f} |"
                )


if __name__ == "__main__":
    main()
