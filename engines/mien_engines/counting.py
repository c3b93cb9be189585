"""What a graph computes and has to move, counted from its operators for given sizes of its inputs.

Convolutions and products of matrices are counted, two operations for each multiplication with its
addition; everything else could be done while their results pass by. So bytes are those of what the
products read, of their weights and of what they write, once each, with the graph's own inputs and
outputs: the least that a runtime moves which keeps nothing in caches between two products.

A transposed convolution multiplies each of its inputs with each weight once: zeros that a formula
with inserted zeros would multiply are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from mien_engines.spec import Precision

BYTES: dict[Precision, int] = {"f32": 4, "bf16": 2, "fp16": 2}
CONVOLUTIONS = ("Convolution", "GroupConvolution")
TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")


@dataclass(frozen=True)
class Counted:
    """flops: operations of all products. numbers: that they read and write, weights included.

    edge_bytes: of the graph's inputs and outputs. products, nodes: operators. uncounted: products
    whose sizes depend on values.
    """

    flops: float
    numbers: float
    edge_bytes: float
    products: int
    nodes: int
    uncounted: int

    def bytes(self, precision: Precision) -> float:
        """Bytes, where the products' numbers have a precision."""
        return self.numbers * BYTES[precision] + self.edge_bytes


def count(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Counted:
    """Count the operators of an ONNX file.

    shapes: of every input. Raises BackendUnavailable without OpenVINO, which reads the file.
    """
    from mien_engines.backends import get
    from mien_engines.backends.ov import read_static

    get("ov").probe()
    model = read_static(path, shapes)
    flops = numbers = 0.0
    products = uncounted = 0
    operators = [op for op in model.get_ordered_ops() if op.get_type_name() not in _NOTHING]
    for op in operators:
        if op.get_type_name() not in (*CONVOLUTIONS, *TRANSPOSED, "MatMul"):
            continue
        products += 1
        try:
            flops += 2.0 * _multiplications(op)
            numbers += sum(prod(port.get_shape()) for port in (*op.inputs(), *op.outputs()))
        except RuntimeError:  # a shape that is not known before the graph runs
            uncounted += 1
    ports = [port for port in (*model.inputs, *model.outputs) if port.partial_shape.is_static]
    edge = sum(float(prod(port.shape)) * port.element_type.size for port in ports)
    return Counted(flops, numbers, edge, products, len(operators), uncounted)


_NOTHING = ("Constant", "Parameter", "Result")


def _multiplications(op: Any) -> int:
    kind = op.get_type_name()
    shape, result = (_sizes(port) for port in (op.input(1), op.output(0)))
    if kind == "MatMul":
        inner = _sizes(op.input(0))[-2 if op.get_attributes()["transpose_a"] else -1]
        return prod(result) * inner
    source = _sizes(op.input(0))
    # Weights are [out, in, k...], with the groups before them where there are some; those of a
    # transposed convolution are [in, out, k...]. Each output takes in x k..., each input gives out
    # x k...: of one group.
    of_one = shape[1:] if len(shape) > len(source) else shape
    if kind in TRANSPOSED:
        return prod(source) * of_one[1] * prod(of_one[2:])
    return prod(result) * of_one[1] * prod(of_one[2:])


def _sizes(port: Any) -> list[int]:
    """Raises RuntimeError where they are not known."""
    return list(port.get_shape())
