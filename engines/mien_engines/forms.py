"""A graph's ONNX file at the precision that is asked for.

The pass that decides what is computed in fewer bits is the exporter's, the one place that knows
onnx (`mien_export.narrow`). It is looked up by name when a plan of lower precision is built, so
that running graphs never needs onnx, and nothing here depends on the exporter.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from mien_engines.bundle import Bundle
from mien_engines.errors import MissingDependency
from mien_engines.spec import Precision

PASS = "mien_export.narrow"


def form_of(
    bundle: Bundle,
    graph: str,
    precision: Precision,
    keep: Sequence[str],
    unsupported: Sequence[str],
    folder: Path,
) -> Path:
    """The file to build: the graph's own, a form that the bundle has, or one written to folder.

    keep: operators, or nodes by name, that stay float32. unsupported: operators that do so because
        the builder has no other kernels for them.

    Raises MissingDependency where a form has to be made and onnx is not installed.
    """
    spec = bundle.graph(graph)
    if precision == "f32":
        return bundle.graph_path(graph)
    if precision in spec.forms and not keep and not unsupported:
        return bundle.folder / spec.forms[precision].file
    try:
        narrowing = importlib.import_module(PASS)
    except ImportError as error:
        raise MissingDependency(
            f"graph {graph} in {precision}: the pass that decides its precision needs onnx",
            hint="Type: pip install 'mien[build]', or build it in fp32",
        ) from error
    written: Path = narrowing.write_narrowed(
        bundle.graph_path(graph), folder / f"{graph}.{precision}.onnx", precision,
        keep=tuple(keep), unsupported=tuple(unsupported),
    )  # fmt: skip
    return written
