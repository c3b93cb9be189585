"""A film's ONNX file: a graph that runs at the start of a sequence, before one that draws frames.

    if START: held = first(reference)       # else what Triton hands back of the last request
    frame(picture, held), held              # what is held leaves too, and comes back

The reference picture is an input with a default, so that later requests leave it out. The default
is a single pixel, which no network takes: a first request without a reference is an error of the
server's, not a picture. Both graphs point into the bundle's weights, as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from mien_engines.errors import ArchMismatch
from mien_export.triton.models import HELD, START
from mien_export.triton.plans import Film

FIRST = "first."  # before every name inside the graph that runs once
PIXEL = (1, 1, 1, 3)  # N, H, W, RGB


def film_onnx(film: Film, first: Path, frame: Path) -> onnx.ModelProto:
    """Return the model that two ONNX files of a bundle make.

    Raises ArchMismatch where their operator sets differ, or their functions of one name.
    """
    once, drawn = (onnx.load(path, load_external_data=False) for path in (first, frame))
    if {(o.domain, o.version) for o in once.opset_import} - {
        (o.domain, o.version) for o in drawn.opset_import
    }:
        raise ArchMismatch(
            f"{first.name} and {frame.name} are of different operator sets",
            hint="Export the bundle again, or leave the film out: --no-films",
        )
    _add_functions(drawn, once)
    outputs = [value.name for value in once.graph.output]
    names = {value.name: film.inputs.get(value.name, value.name) for value in once.graph.input}
    _rename(once.graph, lambda name: names.get(name) or (name and FIRST + name))
    graph = drawn.graph
    graph.name = film.name
    held = [value for value in graph.input if value.name in outputs]
    others = [value for value in graph.input if value.name not in outputs]
    defaults = _defaults(once.graph.input)
    del graph.input[:]
    graph.input.extend([*others, *once.graph.input])
    graph.input.append(helper.make_tensor_value_info(START, TensorProto.BOOL, [1]))
    graph.input.extend(_called(value, f"{value.name}{HELD}") for value in held)
    graph.initializer.extend([*once.graph.initializer, *defaults])
    nodes = [_choice(once.graph, held), *map(_kept, held), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.extend(_called(value, f"{value.name}{HELD}_next") for value in held)
    drawn.ir_version = max(drawn.ir_version, once.ir_version)
    return drawn


def _choice(once: onnx.GraphProto, held: list[onnx.ValueInfoProto]) -> onnx.NodeProto:
    """START ? once : what was held."""
    new = helper.make_graph(
        once.node, "new", [], [_called(value, FIRST + value.name) for value in held]
    )
    old = helper.make_graph(
        [helper.make_node("Identity", [f"{v.name}{HELD}"], [f"{v.name}_old"]) for v in held],
        "old", [], [_called(value, f"{value.name}_old") for value in held],
    )  # fmt: skip
    return helper.make_node(
        "If", [START], [value.name for value in held], name="choice", then_branch=new,
        else_branch=old,
    )  # fmt: skip


def _kept(value: onnx.ValueInfoProto) -> onnx.NodeProto:
    return helper.make_node("Identity", [value.name], [f"{value.name}{HELD}_next"])


def _called(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy


def _defaults(inputs: Iterable[onnx.ValueInfoProto]) -> list[TensorProto]:
    """Single pixels for the pictures among inputs, whose sizes are then free."""
    defaults = []
    for value in inputs:
        kind = value.type.tensor_type
        if kind.elem_type != TensorProto.UINT8 or len(kind.shape.dim) != len(PIXEL):
            continue
        for i, letter in enumerate("NHW"):
            kind.shape.dim[i].dim_param = f"{value.name}.{letter}"
        defaults.append(
            helper.make_tensor(value.name, kind.elem_type, PIXEL, bytes(math.prod(PIXEL)), raw=True)
        )
    return defaults


def _add_functions(target: onnx.ModelProto, source: onnx.ModelProto) -> None:
    known = {(f.domain, f.name, f.overload): f for f in target.functions}
    for function in source.functions:
        same = known.get((function.domain, function.name, function.overload))
        if same is None:
            target.functions.append(function)
        elif same.SerializeToString() != function.SerializeToString():
            raise ArchMismatch(
                f"the graphs of the film have two functions {function.domain}::{function.name}",
                hint="Leave the film out: --no-films",
            )


def _rename(graph: onnx.GraphProto, renamed: Callable[[str], str]) -> None:
    """Give every tensor and node of a graph, and of those inside it, its new name."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = renamed(value.name)
    del graph.value_info[:]
    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, renamed)
