"""What stays in float32 where OpenVINO computes in bf16.

Time goes into maps of many channels, digits are lost in what is small: pictures and the moments
that MS-SSIM takes of them, codes and styles, losses, the optimiser. So maps and dense convolutions
are bf16, and all else is float32. A projection of the demo's then arrives where float32 does, at
the speed of bf16; with everything in bf16 it arrived at a loss 19 % higher.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

MAP_CHANNELS = 16  # a tensor [N, C, H, W] of so many and more is a map, of fewer a picture
MAP_SIZE = 1 << 15  # so is one of another rank and so many numbers, such as [N, H W, C]
# OpenVINO 2026.4.1 cannot compile some float32 convolutions between bf16 ones ("object is not
# initialized").
DENSE = ("Convolution", "ConvolutionBackpropData")
ENDS = ("Constant", "Parameter", "Result")
POINTWISE = frozenset({
    "Add", "Divide", "Equal", "Greater", "GreaterEqual", "LessEqual", "Multiply", "Negative",
    "Power", "PRelu", "Relu", "Select", "Sqrt", "Subtract",
})  # fmt: skip
# Nodes carry the mark as an object that Python cannot make, but that reading a model makes.
MARKED = b"""<net name="marked" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="1" name="marked" type="ReLU" version="opset1">
<rt_info><attribute name="precise" version="0"/></rt_info>
<input><port id="0" precision="FP32"><dim>1</dim></port></input>
<output><port id="1" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="2" name="y" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>"""


def keep_float32(model: Any, core: Any) -> None:
    """Mark the nodes of a model of static shapes that a compilation for bf16 leaves in float32.

    A version of OpenVINO that has no such mark computes all in bf16, for the gate to judge.
    """
    marks, compared = _marks(core), _beside_equality(model)
    for node in model.get_ordered_ops():
        low = node.get_type_name() in (*ENDS, *DENSE) or _has_map(node)
        if not low and node.friendly_name not in compared:
            for key, mark in marks.items():
                node.set_rt_info(mark, key)


def _beside_equality(model: Any) -> set[str]:
    """Names of what is computed point by point with maps that are compared for equality.

    The gradient of a max pooling asks where a map equals its maximum. Pointwise nodes are fused,
    and all of them float32 where one is: the map would be compared with a rounded copy of itself,
    and most of the gradient be lost.
    """
    found: set[str] = set()
    todo = [n for n in model.get_ordered_ops() if n.get_type_name() == "Equal" and _has_map(n)]
    while todo:
        node = todo.pop()
        if node.friendly_name in found or node.get_type_name() not in POINTWISE:
            continue
        if not _has_pixels(node):
            continue
        found.add(node.friendly_name)
        todo += [port.get_source_output().get_node() for port in node.inputs()]
        todo += [x.get_node() for port in node.outputs() for x in port.get_target_inputs()]
    return found


def _has_pixels(node: Any) -> bool:
    """Whether it gives [N, C, H, W] of more than one pixel."""
    shape = node.output(0).partial_shape
    return shape.is_static and len(shape) == 4 and shape[2].get_length() * shape[3].get_length() > 1


def _has_map(node: Any) -> bool:
    """Whether a node gives a map, or takes one, which to widen would cost more than it is worth."""
    taken = [port.get_source_output() for port in node.inputs()]
    computed = [port for port in taken if port.get_node().get_type_name() != "Constant"]
    return any(_is_map(port.get_partial_shape()) for port in [*node.outputs(), *computed])


def _is_map(shape: Any) -> bool:
    if shape.is_dynamic:
        return False
    sizes: list[int] = [size.get_length() for size in shape]
    return sizes[1] >= MAP_CHANNELS if len(sizes) == 4 else math.prod(sizes) >= MAP_SIZE


@cache
def _marks(core: Any) -> dict[str, Any]:
    nodes = core.read_model(MARKED).get_ordered_ops()
    return next(dict(n.get_rt_info().items()) for n in nodes if n.friendly_name == "marked")
