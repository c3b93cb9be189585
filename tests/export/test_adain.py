"""AdaIN as a node of its own, in torch and in every run time, against float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from tests.export.rtx import BOTH
from torch import Tensor, nn

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import MienError
from mien_engines.spec import Source
from mien_export.graph import EXACT, Graph, floats
from mien_export.nets.adain import adain
from mien_export.to_bundle import write_bundle

SHAPES = [(1, 5, 16, 12), (3, 5, 16, 12)]
SIZE = ("N", 5, 16, 12)


class Node(nn.Module):
    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return adain(x, gamma, beta)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    x, style = torch.randn(2, 5, 16, 12), torch.randn(2, 5)
    row = floats("gamma", ("N", 5), "scale"), floats("beta", ("N", 5), "shift")
    graph = Graph(
        "adain", Node(), (x, style, style + 1), (floats("x", SIZE, "features"), *row),
        (floats("y", SIZE, "features"),), EXACT,
        samples={"x": x[:1], "gamma": style[:1], "beta": style[:1]},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("adain") / "adain"
    write_bundle(
        folder,
        [graph],
        name="adain",
        family="none",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={},
        constants={},
    )
    return Bundle.open(folder)


def definition(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    centred = x - x.mean((2, 3), keepdims=True)
    normal = centred / np.sqrt(np.square(centred).mean((2, 3), keepdims=True) + 1e-5)
    return gamma[:, :, None, None] * normal + beta[:, :, None, None]


def feeds(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    x = rng.standard_normal(shape) * rng.uniform(0.01, 30, (shape[0], shape[1], 1, 1)) + 3
    x[:, 0] = 7.0  # a plane of one value has variance 0
    gamma, beta = rng.standard_normal((2, *shape[:2]))
    return {k: v.astype(np.float32) for k, v in (("x", x), ("gamma", gamma), ("beta", beta))}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_every_backend_computes_the_definition(
    bundle: Bundle, rng: np.random.Generator, backend: str, shape: tuple[int, ...]
) -> None:
    inputs = feeds(rng, shape)
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        found = engine.run("adain", **inputs)["y"]
    np.testing.assert_allclose(found, definition(**inputs), rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 3, 7, 5), (3, 2, 1, 1)])
def test_torch_computes_the_definition(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    inputs = feeds(rng, shape)
    found = adain(*(torch.from_numpy(value) for value in inputs.values()))
    np.testing.assert_allclose(found.numpy(), definition(**inputs), rtol=0, atol=2e-5)


def test_gradients_pass_in_torch() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4, 5),)]
    inputs += [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(adain, inputs)


def test_it_leaves_torch_as_one_node_with_a_body(bundle: Bundle) -> None:
    model = onnx.load(bundle.graph_path("adain"), load_external_data=False)
    assert [(n.domain, n.op_type) for n in model.graph.node] == [("mien", "AdaIN")]
    (function,) = model.functions
    assert (function.domain, function.name) == ("mien", "AdaIN")
    assert all(node.domain == "" for node in function.node)


@BOTH
def test_tensorrt_builds_the_body(bundle: Bundle, assert_it_builds: Callable[..., None]) -> None:
    assert_it_builds(bundle.graph_path("adain"))
