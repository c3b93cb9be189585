"""A user's ONNX file: read whole, and refused where it could do more than compute once, forwards.

What stays out: operators of other domains (they are code of whoever runs the graph, or, as
EPContext, whole engines), graphs inside graphs (a loop need not end), functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from mien_engines.errors import ArchMismatch, CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.faults import listed, shown, typed_errors
from mien_export.checkpoints.identify import read_bytes
from mien_export.checkpoints.onnx_data import MAX_BYTES, Data, gather_data

MAX_NODES = 50_000
MAX_ELEMENTS = 1 << 28  # of an input or an output; a picture of 8192 px has fewer
OWN_DOMAINS = ("", "ai.onnx")  # two names of ONNX's own operators
GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


@dataclass(frozen=True)
class Port:
    """An input or an output. shape: sizes, a name or "" where one is open; None where unknown."""

    name: str
    kind: int  # of TensorProto
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model with all its tensors inside. sha256: of the file and the data it keeps elsewhere."""

    name: str
    model: ModelProto
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sha256: str


def read_onnx(path: Path) -> OnnxModel:
    """Read a model without trusting it.

    Raises:
        InputError: there is no such file.
        UnsafeFile: it asks for foreign operators or for files that are not beside it.
        CorruptFile: damaged, or no ONNX. LimitExceeded: larger than a network honestly is.
        ArchMismatch: another version of ONNX, control flow, functions, kinds of numbers.
        NonFiniteWeights: NaN or infinity in a tensor.
    """
    with typed_errors(path):
        content = read_bytes(path, MAX_BYTES)
        model = _parsed(content, path.name)
        opset = _opset(model, path.name)
        _refuse_more_than_a_graph(model, path.name)
        for node in model.graph.node:
            _refuse_node(node, path.name)
        data = Data(path, content)
        gather_data(model.graph, data)
        stored = {tensor.name for tensor in model.graph.initializer}
        return OnnxModel(
            path.name,
            model,
            opset,
            # Before version 4 of the format, weights were listed among the inputs.
            tuple(_port(value) for value in model.graph.input if value.name not in stored),
            tuple(_port(value) for value in model.graph.output),
            data.digest.hexdigest(),
        )


def _parsed(content: bytes, file: str) -> ModelProto:
    model: ModelProto = ModelProto.FromString(content)
    if not model.graph.node or not model.ir_version:
        raise CorruptFile(f"{file} is no ONNX model: it has no operators", hint="Export it")
    return model


def _opset(model: ModelProto, file: str) -> int:
    """The version of ONNX's operators, known to what is installed here."""
    versions = [entry.version for entry in model.opset_import if entry.domain in OWN_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not 1 <= versions[0] <= newest or model.ir_version > onnx.IR_VERSION:
        raise ArchMismatch(
            f"{file} has opset {', '.join(map(str, versions)) or 'none'} and format version "
            f"{model.ir_version}, expected one of at most {newest} and {onnx.IR_VERSION}",
            hint="Export it with opset_version=18",
        )
    return int(versions[0])


def _refuse_more_than_a_graph(model: ModelProto, file: str) -> None:
    if len(model.graph.node) > MAX_NODES or len(model.graph.initializer) > MAX_NODES:
        raise LimitExceeded(f"{file} has more than {MAX_NODES:,} operators or tensors")
    for what, found in (
        ("functions of its own", model.functions),
        ("sparse tensors", model.graph.sparse_initializer),
        ("a training graph", model.training_info),
    ):
        if found:
            raise ArchMismatch(
                f"{file} holds {what}, expected a graph of operators alone",
                hint="Export it again for inference, with dynamo=True",
            )


def _refuse_node(node: NodeProto, file: str) -> None:
    if node.domain not in OWN_DOMAINS:
        raise UnsafeFile(
            f"{file}: operator {shown(node.op_type)} of {shown(node.domain)}, expected ONNX's own",
            hint="Export it without custom operators",
        )
    for attribute in node.attribute:
        if attribute.type in GRAPHS or attribute.HasField("g") or attribute.graphs:
            raise ArchMismatch(
                f"{file}: operator {shown(node.op_type)} has a graph inside, which is not served",
                hint="Export it without loops and branches: traced, not scripted",
            )
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise ArchMismatch(
                f"{file}: operator {shown(node.op_type)} has a sparse tensor, which is not served"
            )


def _port(value: ValueInfoProto) -> Port:
    if not isinstance(value.name, str):  # bytes that are no text come as bytes
        raise CorruptFile("an input or an output has a name that is no text")
    tensor = value.type.tensor_type
    shape: tuple[int | str, ...] | None = None
    if tensor.HasField("shape"):
        # Old tools write 0 or -1 for a size that is open.
        shape = tuple(max(d.dim_value, 0) or d.dim_param for d in tensor.shape.dim)
        if prod(n for n in shape if isinstance(n, int)) > MAX_ELEMENTS:
            raise LimitExceeded(f"{shown(value.name)} has shape ({listed(shape)})")
    kind = tensor.elem_type if value.type.HasField("tensor_type") else TensorProto.UNDEFINED
    return Port(value.name, kind, shape)
