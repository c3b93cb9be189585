"""Write a graph's form of lower precision to a file, for a builder of plans.

`mien_engines.forms` looks this module up by name. It needs onnx and NumPy, and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from mien_engines.errors import InputError
from mien_export.precision import TYPES, Narrow, in_half

LARGEST_FILE = 1 << 30  # bytes of weights; protobuf itself ends at 2 GiB


def write_narrowed(
    source: Path,
    target: Path,
    precision: Narrow,
    keep: Sequence[str] = (),
    unsupported: Sequence[str] = (),
) -> Path:
    """Write the form of the ONNX file source to target, and return target.

    keep: operators, or nodes by name, that stay float32. unsupported: operators that do, where the
        graph has them.

    Raises InputError for one to keep that the graph does not have, or an unknown precision.
    """
    if precision not in TYPES:
        raise InputError(f"there is no form in {precision}", hint=f"There are: {', '.join(TYPES)}")
    model = onnx.load(source)
    known = {name for node in model.graph.node for name in (node.op_type, node.name)}
    for name in keep:
        if name not in known:
            operators = sorted({node.op_type for node in model.graph.node})
            raise InputError(
                f"{source.name} has no operator or node {name!r} to keep",
                hint=f"Its operators: {', '.join(operators)}",
            )
    narrowed = in_half(model, precision, (*keep, *unsupported))
    large = narrowed.ByteSize() > LARGEST_FILE
    onnx.save(narrowed, target, save_as_external_data=large, location=f"{target.name}.data")
    return target
