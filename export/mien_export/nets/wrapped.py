"""A network that is ONNX already, as a model of ours: our inputs, our outputs, what joins them.

Its operators stay as they are, at their own opset. Names of its values get a prefix, and whatever
else the file says (shapes, remarks, its producer) is left behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.compose import add_prefix_graph

from mien_engines.errors import ArchMismatch
from mien_engines.spec import TensorSpec
from mien_export.checkpoints.faults import shown, typed_errors
from mien_export.checkpoints.onnx_model import OnnxModel

PREFIX = "net/"
LEAST_FORMAT = 8  # since version 4 weights need not be inputs; 8 is what opsets to 18 come with
KINDS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


def wrapped(
    source: OnnxModel,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    before: Sequence[NodeProto],
    after: Sequence[NodeProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> ModelProto:
    """Return source between our nodes.

    before, after: nodes that lead from the inputs to `inner(name)` of the source's inputs, and from
    those of its outputs to the outputs. constants: what these nodes read.

    Raises ArchMismatch where ONNX's own checker refuses the result, CorruptFile for names that are
    no texts.
    """
    with typed_errors(Path(source.name)):
        graph = _renamed(source.model.graph)
        stored = [onnx.numpy_helper.from_array(v, name) for name, v in (constants or {}).items()]
        whole = helper.make_graph(
            [*before, *graph.node, *after],
            "network",
            [_value(spec) for spec in inputs],
            [_value(spec) for spec in outputs],
            [*graph.initializer, *stored],
        )
        model = helper.make_model(
            whole,
            opset_imports=[helper.make_opsetid("", source.opset)],
            ir_version=max(source.model.ir_version, LEAST_FORMAT),
        )
        _check(model, source.name)
    return model


def _check(model: ModelProto, file: str) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ArchMismatch(
            f"{file} is no valid ONNX: {shown(str(error).strip().splitlines()[0])}",
            hint="Export it again",
        ) from error


def inner(name: str) -> str:
    """What a value of the source is called in the wrapped model."""
    return PREFIX + name


def same(source: str, target: str) -> NodeProto:
    """A node that hands a value on under another name."""
    return helper.make_node("Identity", [source], [target])


def named(size: int | str, name: str) -> int | str:
    """A size that the file fixes, or our name of it."""
    return size if isinstance(size, int) else name


def closed(shape: Sequence[int | str], side: int) -> list[int]:
    """The sizes of a sample: where shape leaves them open, batch 1 and `side` px."""
    return [n if isinstance(n, int) else 1 if n == "N" else side for n in shape]


def _renamed(graph: GraphProto) -> GraphProto:
    """Copy operators and tensors under names that cannot meet ours; constants become tensors."""
    copy = add_prefix_graph(graph, PREFIX)
    nodes = [node for node in copy.node if not _is_tensor(node)]
    for node in copy.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        node.domain = ""
        if _is_tensor(node):
            tensor = copy.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
    result = GraphProto()
    result.node.extend(nodes)
    result.initializer.extend(copy.initializer)
    return result


def _is_tensor(node: NodeProto) -> bool:
    return node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]


def _value(spec: TensorSpec) -> ValueInfoProto:
    # An open size may be called as it is computed, "H/2"; ONNX gets no name for it then.
    shape = [s if isinstance(s, int) or s.isidentifier() else None for s in spec.shape]
    return helper.make_tensor_value_info(spec.name, KINDS[spec.dtype], shape)
