"""Counts of graphs whose operations are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mien_engines import ceilings
from mien_engines.bundle import Bundle
from mien_engines.counting import Counted, count

pytest.importorskip("openvino")


def counted(folder: Path, op: str, shape: tuple[int, ...], weight: tuple[int, ...], **how: Any
            ) -> Counted:  # fmt: skip
    """Count a graph of one operator, with a ReLU behind it."""
    names = [f"d{i}" for i in range(len(shape))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **how), helper.make_node("Relu", ["y"], ["z"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, names)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.ones(weight, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "one.onnx")
    return count(folder / "one.onnx", {"x": shape})


@pytest.mark.parametrize(
    ("op", "shape", "weight", "how", "multiplications", "result"),
    [
        # each of 4 x 9 x 11 outputs takes 3 x 5 x 3 inputs
        ("Conv", (2, 3, 9, 11), (4, 3, 5, 3), {"pads": [2, 1, 2, 1]},
         2 * 4 * 9 * 11 * 3 * 15, 2 * 4 * 9 * 11),
        ("Conv", (1, 4, 9, 9), (8, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]},
         8 * 5 * 5 * 4 * 9, 8 * 5 * 5),
        # depthwise: one input channel for each output
        ("Conv", (1, 6, 8, 8), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]},
         6 * 64 * 9, 6 * 64),
        ("Conv", (1, 6, 8, 8), (4, 3, 1, 1), {"group": 2}, 4 * 64 * 3, 4 * 64),
        # each of 3 x 5 x 7 inputs goes to 4 x 9 outputs, however far they are spread
        ("ConvTranspose", (1, 3, 5, 7), (3, 4, 3, 3), {"strides": [2, 2]},
         3 * 5 * 7 * 4 * 9, 4 * 11 * 15),
        ("ConvTranspose", (1, 6, 5, 5), (6, 1, 4, 4), {"group": 6, "strides": [2, 2]},
         6 * 25 * 16, 6 * 12 * 12),
        ("MatMul", (2, 7, 3), (3, 5), {}, 2 * 7 * 3 * 5, 2 * 7 * 5),
    ],
)  # fmt: skip
def test_products_are_counted_as_the_closed_form_has_them(
    tmp_path: Path, op: str, shape: tuple[int, ...], weight: tuple[int, ...], how: dict[str, Any],
    multiplications: int, result: int,
) -> None:  # fmt: skip
    found = counted(tmp_path, op, shape, weight, **how)
    assert found.flops == 2 * multiplications
    assert found.numbers == np.prod(shape) + np.prod(weight) + result
    assert found.edge_bytes == 4 * (np.prod(shape) + result)
    assert (found.products, found.uncounted) == (1, 0)
    assert found.bytes("f32") - found.bytes("bf16") == 2 * found.numbers


def test_a_graph_of_a_bundle_is_counted_for_any_batch(tiny: Bundle) -> None:
    for batch in (1, 3):
        found = count(tiny.graph_path("linear"), {"x": (batch, 3)})
        assert found.flops == 2 * batch * 3 * 5
    nothing = count(tiny.graph_path("picture"), {"y": (1, 5)})
    assert (nothing.flops, nothing.products) == (0, 0)
    assert nothing.nodes > 0


@pytest.mark.parametrize("make", [lambda: ceilings.copy_speed(2, 1 << 20)])
def test_a_copy_counts_what_it_reads_and_writes(make: Callable[[], float]) -> None:
    assert 1e7 < make() < 1e13
