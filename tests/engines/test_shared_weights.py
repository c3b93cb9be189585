"""A gradient reads the weights of its network a second time, transposed: both must be right.

OpenVINO 2026.4.1 gives one of two such readers the weights that it repacked for the other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mien_engines import Gate, GraphSpec, TensorSpec
from mien_engines.backends.base import Backend

F32 = NDArray[np.float32]
# Each computes y = A x and z = A' y with one square matrix A.
MATRIX = {
    "transposed once": [("Transpose", "S", "T"), ("MatMul", "xT", "y"), ("MatMul", "yS", "z")],
    "transposed twice": [
        ("Transpose", "S", "T"),
        ("Transpose", "T", "U"),
        ("MatMul", "xT", "y"),
        ("MatMul", "yU", "z"),
    ],
    "stored once, named twice": [
        ("Transpose", "S", "T"),
        ("MatMul", "xT", "y"),
        ("MatMul", "yR", "z"),
    ],
}
PICTURE = {
    "one weight": [("Conv", "xS", "y"), ("ConvTranspose", "yS", "z")],
    "stored once, named twice": [("Conv", "xS", "y"), ("ConvTranspose", "yR", "z")],
}
TOLERANCE = {"f32": 1e-5, "bf16": 0.02}  # of sums of 32 and of 288 products


def node(kind: str, inputs: str, output: str) -> onnx.NodeProto:
    if "Conv" in kind:
        return helper.make_node(kind, list(inputs), [output], strides=[2, 2])
    return helper.make_node(kind, list(inputs), [output])


def graph_spec(folder: Path, weights: F32, nodes: list[tuple[str, str, str]], x: F32) -> GraphSpec:
    """S and R are the same bytes of one file."""
    (folder / "weights").write_bytes(weights.tobytes())
    initialisers = []
    for name in "SR":
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weights.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "weights", "offset": 0, "length": weights.nbytes}.items():
            tensor.external_data.add(key=key, value=str(value))
        initialisers.append(tensor)
    graph = helper.make_graph(
        [node(*parts) for parts in nodes],
        "adjoint",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "yz"],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "adjoint.onnx")
    return GraphSpec(
        file="adjoint.onnx",
        inputs=(TensorSpec(name="x", dtype="float32", shape=x.shape),),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=()) for name in "yz"),
        gate=Gate(kind="outputs", tolerance=0.0),
    )


def check_adjoint(backend: Backend, folder: Path, spec: GraphSpec, x: F32) -> None:
    """<A x, A x> = <x, A' A x>, compiled and restored from the cache."""
    for _ in range(2):
        with backend.open(folder / spec.file, spec, 1, folder / "cache") as session:
            y, z = session.run({"x": x}).values()
        assert np.vdot(x, z) == pytest.approx(np.vdot(y, y), rel=TOLERANCE[backend.precision])


@pytest.mark.parametrize("case", MATRIX)
def test_a_matrix_serves_forwards_and_backwards(
    backend: Backend, tmp_path: Path, rng: np.random.Generator, case: str
) -> None:
    weights = rng.standard_normal((32, 32)).astype(np.float32)
    x = rng.standard_normal((1, 32)).astype(np.float32)
    check_adjoint(backend, tmp_path, graph_spec(tmp_path, weights, MATRIX[case], x), x)


@pytest.mark.parametrize("case", PICTURE)
def test_a_convolution_serves_forwards_and_backwards(
    backend: Backend, tmp_path: Path, rng: np.random.Generator, case: str
) -> None:
    weights = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    x = rng.standard_normal((1, 32, 9, 9)).astype(np.float32)
    check_adjoint(backend, tmp_path, graph_spec(tmp_path, weights, PICTURE[case], x), x)
