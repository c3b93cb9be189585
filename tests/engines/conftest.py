"""A tiny bundle with known answers: a linear map, a picture, a descent with a closed form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper
from tests.engines.fake_gpu import BuildingTrt, fake_host

from mien_engines import backends
from mien_engines.backends.base import Backend
from mien_engines.backends.trt import Trt
from mien_engines.bundle import Bundle, file_entry, save_spec
from mien_engines.errors import BackendUnavailable
from mien_engines.spec import BundleSpec, Gate, GraphSpec, Source, TensorSpec

LINEAR = GraphSpec(
    file="linear.onnx",
    inputs=(TensorSpec(name="x", dtype="float32", shape=("N", 3)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("N", 5)),),
    gate=Gate(kind="outputs", tolerance={"f32": 1e-5, "bf16": 2e-2}),
    frequent=True,
)
PICTURE = GraphSpec(
    file="picture.onnx",
    inputs=(TensorSpec(name="y", dtype="float32", shape=("N", 5)),),
    outputs=(TensorSpec(name="image", dtype="uint8", shape=("N", 5, 1), range=(0, 255)),),
    gate=Gate(kind="outputs", tolerance=0.02),
)
DESCENT = GraphSpec(
    file="descent.onnx",
    inputs=(
        TensorSpec(name="w", dtype="float32", shape=("N", 5)),
        TensorSpec(name="target", dtype="float32", shape=("N", 5)),
        TensorSpec(name="rate", dtype="float32", shape=()),
    ),
    outputs=(
        TensorSpec(name="w_next", dtype="float32", shape=("N", 5)),
        TensorSpec(name="loss", dtype="float32", shape=("N",)),
    ),
    gate=Gate(kind="loop", tolerance={"f32": 1e-3, "bf16": 0.2}, steps=5, watch="loss"),
    state={"w_next": "w"},
)


def _make_bundle(folder: Path, seed: int = 0, sampled: bool = True) -> Bundle:
    """linear: y = x A + b. picture: uint8 of 255 * sigmoid(y). descent: on |w - target|^2 / 2."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = {
        "A": rng.standard_normal((3, 5)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    safetensors.numpy.save_file(weights, folder / "weights.safetensors")
    constants = {"mean": weights["b"]}
    if sampled:
        constants |= {
            "sample.x": rng.standard_normal((2, 3)).astype(np.float32),
            "sample.descent.w": np.zeros((2, 5), np.float32),
            "sample.target": rng.standard_normal((2, 5)).astype(np.float32),
            "sample.rate": np.array(0.25, np.float32),
        }
    safetensors.numpy.save_file(constants, folder / "constants.safetensors")
    _save(folder, LINEAR, _linear_nodes(), _external(folder / "weights.safetensors"))
    _save(folder, PICTURE, _picture_nodes(), _picture_constants())
    _save(folder, DESCENT, _descent_nodes(), [_constant("half", 0.5), _constant("axis", [1])])
    files = sorted(folder.glob("*.onnx")) + sorted(folder.glob("*.safetensors"))
    spec = BundleSpec(
        name="tiny",
        family="test",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        files={file.name: file_entry(file) for file in files},
        graphs={"linear": LINEAR, "picture": PICTURE, "descent": DESCENT},
    )
    save_spec(folder, spec)
    return Bundle.open(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of one test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MIEN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def new_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Makes a bundle that a test may spoil."""
    return lambda name="tiny", **settings: _make_bundle(tmp_path / name, **settings)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle to read only."""
    return _make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


FAKE = "trt on a fake GPU"
# Other precisions of TensorRT are the same code on another plan.
CASES = [name for name in backends.LISTING if not re.match("(trt|rtx)-", name)]


@pytest.fixture(params=[*CASES, FAKE])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == FAKE:
        return BuildingTrt(fake_host())
    found = backends.get(request.param)
    try:
        found.probe()
    except BackendUnavailable as error:
        pytest.skip(error.message)
    return BuildingTrt(found.host) if isinstance(found, Trt) else found


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _linear_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", ["x", "A"], ["xA"]),
        helper.make_node("Add", ["xA", "b"], ["y"]),
    ]


def _picture_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Sigmoid", ["y"], ["unit"]),
        helper.make_node("Mul", ["unit", "scale"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["flat"], to=TensorProto.UINT8),
        helper.make_node("Unsqueeze", ["flat", "last"], ["image"]),
    ]


def _descent_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Sub", ["w", "target"], ["gradient"]),
        helper.make_node("Mul", ["gradient", "rate"], ["change"]),
        helper.make_node("Sub", ["w", "change"], ["w_next"]),
        helper.make_node("Mul", ["gradient", "gradient"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axis"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "half"], ["loss"]),
    ]


def _picture_constants() -> list[onnx.TensorProto]:
    return [_constant("scale", 255.0), _constant("last", [2])]


def _constant(name: str, value: float | list[int]) -> onnx.TensorProto:
    dtype = np.int64 if isinstance(value, list) else np.float32
    return onnx.numpy_helper.from_array(np.asarray(value, dtype), name)


def _external(weights: Path) -> list[onnx.TensorProto]:
    """Initialisers that point into a safetensors file by offset and length."""
    data = weights.read_bytes()
    header = int.from_bytes(data[:8], "little")
    initialisers = []
    for name, tensor in sorted(safetensors.numpy.load(data).items()):
        entry = onnx.numpy_helper.from_array(tensor, name)
        start = data.index(tensor.tobytes(), 8 + header)
        entry.ClearField("raw_data")
        entry.data_location = TensorProto.EXTERNAL
        place = {"location": weights.name, "offset": start, "length": tensor.nbytes}
        for key, value in place.items():
            entry.external_data.add(key=key, value=str(value))
        initialisers.append(entry)
    return initialisers


def _save(
    folder: Path,
    spec: GraphSpec,
    nodes: list[onnx.NodeProto],
    initialisers: list[onnx.TensorProto],
) -> None:
    graph = helper.make_graph(
        nodes,
        spec.name,
        [_value(tensor) for tensor in spec.inputs],
        [_value(tensor) for tensor in spec.outputs],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / spec.file).write_bytes(model.SerializeToString())


def _value(tensor: TensorSpec) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, dtype, tensor.shape)
