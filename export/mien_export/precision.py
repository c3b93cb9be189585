"""The float16 or bfloat16 form of a graph: feature maps in 16 bits, all that is smaller in float32.

Maps, [N, C, H, W] with H and W above 1, and the kernels they meet have 16 bits. Styles, statistics,
demodulation, reductions and losses stay float32, and so does what feeds nothing but a reduction:
a sum of squares overflows long before its root does. In float16, what a modulated convolution adds
up is kept in range by taking the greatest style out before it and putting it back with the
demodulation; bfloat16 has the range of float32, and needs no such thing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Narrow = Literal["fp16", "bf16"]
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# Computed in float32 whatever they are given. mien's functions have statistics inside.
WIDE = {"Exp", "Log", "Pow", "Softmax", "Sqrt", "InstanceNormalization", "LayerNormalization"}
SHAPES_ONLY = {"Shape", "Size", "Cast"}
CONVOLUTIONS = {"Conv", "ConvTranspose"}
FLOATING_INPUTS = {"Resize": (0,)}  # others of its inputs are float32 by definition
Shape = tuple[int | None, ...]


def in_half(model: ModelProto, precision: Narrow = "fp16", keep: Sequence[str] = ()) -> ModelProto:
    """Return the form of a float32 model at a precision. Inputs and outputs keep their types.

    keep: operators ("Resize"), or nodes by name, that stay float32.
    """
    return _Rewriting(onnx.shape_inference.infer_shapes(model), precision, keep).run()


class _Rewriting:
    """One pass over the nodes, which makes casts where the two precisions meet."""

    def __init__(self, model: ModelProto, precision: Narrow, keep: Sequence[str]) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.precision, self.keep = precision, frozenset(keep)
        self.type, self.ending = TYPES[precision], f"__{precision}"
        graph = self.model.graph
        self.floats = _float_shapes(self.model)
        self.weights = {t.name: t for t in graph.initializer}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.asked = {value.name for value in graph.output}
        self.narrow = {id(node) for node in graph.node if self._is_narrow(node)}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.half: set[str] = set()  # values that have a form of 16 bits by now

    def run(self) -> ModelProto:
        graph = self.model.graph
        nodes = list(graph.node)
        if self.precision == "fp16":
            nodes = _with_guarded_styles(nodes, self)
        rewritten: list[NodeProto] = []
        for node in nodes:
            if id(node) in self.narrow:
                rewritten += self._narrowed(node)
            else:
                rewritten.append(node)
        del graph.node[:]
        graph.node.extend(rewritten)
        _drop_unused(self.model)
        del graph.value_info[:]
        return self.model

    def is_map(self, name: str) -> bool:
        shape = self.floats.get(name)
        return shape is not None and len(shape) == 4 and shape[2:] != (1, 1)

    def _is_narrow(self, node: NodeProto) -> bool:
        if node.op_type in WIDE | SHAPES_ONLY or node.domain or node.op_type.startswith("Reduce"):
            return False
        if node.op_type in self.keep or (node.name and node.name in self.keep):
            return False
        if not any(self.is_map(n) and n not in self.weights for n in node.input):
            return False
        outputs = [n for n in node.output if n]
        return all(self.is_map(n) for n in outputs) and not all(map(self._is_summed, outputs))

    def _is_summed(self, name: str) -> bool:
        readers = self.readers[name]
        return bool(readers) and name not in self.asked and all(
            r.op_type.startswith("Reduce") for r in readers
        )  # fmt: skip

    def _narrowed(self, node: NodeProto) -> list[NodeProto]:
        """The node on values of 16 bits, casts of inputs before it and of outputs behind."""
        before, behind = [], []
        places = FLOATING_INPUTS.get(node.op_type, range(len(node.input)))
        for place in places:
            name = node.input[place]
            if name in self.floats:
                before += self._cast_to_half(name)
                node.input[place] = name + self.ending
        for place, name in enumerate(node.output):
            if not name:
                continue
            node.output[place] = name + self.ending
            self.half.add(name)
            if name in self.asked or any(id(r) not in self.narrow for r in self.readers[name]):
                cast = helper.make_node("Cast", [name + self.ending], [name], to=TensorProto.FLOAT)
                behind.append(cast)
        return [*before, node, *behind]

    def _cast_to_half(self, name: str) -> list[NodeProto]:
        if name in self.half:
            return []
        self.half.add(name)
        weight = self.weights.get(name)
        if weight is None:
            return [helper.make_node("Cast", [name], [name + self.ending], to=self.type)]
        value: NDArray[np.float32] = numpy_helper.to_array(weight)
        kind = helper.tensor_dtype_to_np_dtype(self.type)
        tensor = numpy_helper.from_array(value.astype(kind), name + self.ending)
        self.model.graph.initializer.append(tensor)
        return []


@dataclass(frozen=True)
class _Modulation:
    """map * style -> convolutions -> * demodulation: all linear in between."""

    product: NodeProto
    style: int  # which of the product's inputs
    demodulated: NodeProto
    demodulation: int  # which of its inputs
    fan_in: float


def _with_guarded_styles(nodes: list[NodeProto], graph: _Rewriting) -> list[NodeProto]:
    """Divide styles by their greatest and the root of the fan-in; demodulation multiplies it."""
    inserted: dict[int, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        found = _modulation(node, graph)
        if found is not None:
            before, behind = _guard(found, graph)
            inserted[id(node)] += before
            inserted[id(found.demodulated)] += behind
    return [new for node in nodes for new in (*inserted[id(node)], node)]


def _guard(found: _Modulation, graph: _Rewriting) -> tuple[list[NodeProto], list[NodeProto]]:
    """Return the nodes before the modulation, and those before the demodulation."""
    prefix = f"{found.product.output[0]}__guard"
    size, axes, most, least, some, root, factor, style, demodulation = (
        f"{prefix}_{part}"
        for part in ("size", "axes", "most", "least", "some", "root", "factor", "style", "scale")
    )
    constants = {
        axes: np.array([1], np.int64),
        least: np.array(1e-6, np.float32),
        root: np.array(np.sqrt(found.fan_in), np.float32),
    }
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph.model.graph.initializer.extend(tensors)
    old_style = found.product.input[found.style]
    old_demodulation = found.demodulated.input[found.demodulation]
    found.product.input[found.style] = style
    found.demodulated.input[found.demodulation] = demodulation
    graph.floats |= {style: (), demodulation: ()}
    before = [
        helper.make_node("Abs", [old_style], [size]),
        helper.make_node("ReduceMax", [size, axes], [most], keepdims=1),
        helper.make_node("Max", [most, least], [some]),
        helper.make_node("Mul", [some, root], [factor]),
        helper.make_node("Div", [old_style, factor], [style]),
    ]
    return before, [helper.make_node("Mul", [old_demodulation, factor], [demodulation])]


def _modulation(node: NodeProto, graph: _Rewriting) -> _Modulation | None:
    style = _style_place(node, graph)
    chain = [] if style is None else _linear_chain(node.output[0], graph)
    if style is None or not chain:
        return None
    result = chain[-1].output[0]
    demodulated = _single_reader(result, graph)
    place = None if demodulated is None else _scale_place(demodulated, result, graph)
    if demodulated is None or place is None:
        return None
    dims = graph.weights[chain[0].input[1]].dims
    return _Modulation(node, style, demodulated, place, prod(dims) / max(dims[:2]))


def _style_place(node: NodeProto, graph: _Rewriting) -> int | None:
    """Return which input of a multiplication is a style."""
    if node.op_type != "Mul" or id(node) not in graph.narrow:
        return None
    maps = [graph.is_map(name) for name in node.input]
    if sorted(maps) != [False, True] or node.input[maps.index(False)] in graph.weights:
        return None
    return maps.index(False)


def _linear_chain(name: str, graph: _Rewriting) -> list[NodeProto]:
    """Return the convolutions without bias that follow one on another from a value."""
    chain: list[NodeProto] = []
    while (reader := _single_reader(name, graph)) is not None:
        if reader.op_type not in CONVOLUTIONS or len(reader.input) > 2:
            break
        if reader.input[1] not in graph.weights:
            break
        chain.append(reader)
        name = reader.output[0]
    return chain


def _single_reader(name: str, graph: _Rewriting) -> NodeProto | None:
    readers = graph.readers[name]
    return readers[0] if len(readers) == 1 and name not in graph.asked else None


def _scale_place(node: NodeProto, name: str, graph: _Rewriting) -> int | None:
    """Return which input of a multiplication scales the planes of the value `name`."""
    if node.op_type != "Mul" or id(node) not in graph.narrow:
        return None
    place = 1 - list(node.input).index(name)
    shape = graph.floats.get(node.input[place])
    scales = shape is not None and len(shape) == 4 and shape[2:] == (1, 1)
    return place if scales and node.input[place] not in graph.weights else None


def _float_shapes(model: ModelProto) -> dict[str, Shape]:
    """Return the shape of every float32 value; None stands for a dimension that is free."""
    graph = model.graph
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT:
            shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim
            )
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            shapes[tensor.name] = tuple(tensor.dims)
    return shapes


def _drop_unused(model: ModelProto) -> None:
    used = set(_names_read(model.graph.node)) | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _names_read(nodes: Iterable[NodeProto]) -> Iterable[str]:
    for node in nodes:
        yield from node.input
