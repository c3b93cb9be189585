"""AdaIN as a plugin of TensorRT: what its Python half is told, and the nodes that name it.

The library itself is on no package index, so no engine is built here. Where the real bindings are
installed (over libraries that do nothing), they check the registration; elsewhere a recording one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mien_engines.errors import CorruptFile
from mien_engines.kernels import compiled, onnx_nodes, plugin
from mien_export.nets.adain import function

ADDED = {"plugin_namespace": "mien", "aot": 1}


class Recorded(ModuleType):
    """The names of tensorrt.plugin that are used, which keep what they are given."""

    class TensorDesc:
        def __init__(self, shape: Any, dtype: str) -> None:
            self.shape_expr, self.shape = shape, shape
            self.dtype = SimpleNamespace(name=dtype)

        def like(self) -> Any:
            return ("like", self)

    class KernelLaunchParams:
        pass

    class SymIntExprs(dict[int, Any]):
        def __init__(self, length: int) -> None:
            super().__init__({i: None for i in range(length)})

    @staticmethod
    def SymInt32(value: int) -> int:
        return value

    @staticmethod
    def AutoTuneCombination(*what: str) -> tuple[str, ...]:
        return what

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: dict[str, Any] = {}
        for verb in ("register", "autotune", "aot_impl"):
            setattr(self, verb, self._verb(verb))

    def _verb(self, verb: str) -> Any:
        def decorator(identity: str) -> Any:
            assert identity == "mien::AdaIN"
            return lambda given: self.told.setdefault(verb, given)

        return decorator


class Sizes(tuple[int, ...]):
    """A shape as TensorRT's: fixed, unless it is given a range."""

    opt: Any = None
    max: Any = None

    @property
    def is_dynamic(self) -> bool:
        return self.max is not None


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A library with plugins, that is none."""
    library = ModuleType("recorded_trt")
    flags = SimpleNamespace(PREFER_AOT_PYTHON_PLUGINS=2, STRONGLY_TYPED=1)
    library.__dict__.update(QuickPluginCreationRequest=object, NetworkDefinitionCreationFlag=flags)
    monkeypatch.setitem(sys.modules, "recorded_trt", library)
    monkeypatch.setitem(sys.modules, "recorded_trt.plugin", Recorded("recorded_trt.plugin"))
    library.plugin = sys.modules["recorded_trt.plugin"]  # type: ignore[attr-defined]
    monkeypatch.setattr(compiled, "ptx", lambda name: f"PTX of {name}".encode())
    yield library
    for cached in (plugin.register, plugin._plugin_module):
        cached.cache_clear()


def model(shape: tuple[int, ...] = (2, 3, 5, 7)) -> onnx.ModelProto:
    """Two AdaIN nodes, one of them in a branch of If, and another node."""
    f32, (n, c, _, _) = TensorProto.FLOAT, shape
    inputs = [
        helper.make_tensor_value_info(name, f32, size)
        for name, size in (("x", shape), ("gamma", (n, c)), ("beta", (n, c)))
    ]
    adain = helper.make_node("AdaIN", ["x", "gamma", "beta"], ["a"], domain="mien")
    inner = helper.make_node("AdaIN", ["a", "gamma", "beta"], ["b"], domain="mien")
    other = helper.make_node("Relu", ["a"], ["b"])
    branches = [
        helper.make_graph([node], name, [], [helper.make_tensor_value_info("b", f32, shape)])
        for node, name in ((inner, "then"), (other, "else"))
    ]
    condition = helper.make_node(
        "Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True])
    )
    choice = helper.make_node(
        "If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1]
    )
    graph = helper.make_graph(
        [condition, adain, choice], "two", inputs, [helper.make_tensor_value_info("y", f32, shape)]
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mien", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=[function()], ir_version=9)


def adain_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if (node.domain, node.op_type) == ("mien", "AdaIN"):
            yield node
        for attribute in node.attribute:
            yield from adain_nodes(attribute.g)


def test_every_node_names_the_plugin_and_nothing_else_changes() -> None:
    before = model()
    after = onnx.load_from_string(
        onnx_nodes.with_attributes(before.SerializeToString(), "mien", "AdaIN", ADDED)
    )
    nodes = list(adain_nodes(after.graph))
    assert len(nodes) == 2
    for node in nodes:
        found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert found == {"plugin_namespace": b"mien", "aot": 1}
        assert {a.type for a in node.attribute} == {2, 3}
        del node.attribute[:]
    assert after == before


def test_a_model_is_prepared_once(rng: np.random.Generator) -> None:
    once = onnx_nodes.with_attributes(model().SerializeToString(), "mien", "AdaIN", ADDED)
    assert onnx_nodes.with_attributes(once, "mien", "AdaIN", ADDED) == once


def test_without_the_nodes_not_a_byte_changes() -> None:
    raw = model().SerializeToString()
    assert onnx_nodes.with_attributes(raw, "mien", "AdaIn", ADDED) == raw
    assert onnx_nodes.with_attributes(raw, "", "AdaIN", ADDED) == raw


def test_the_file_on_disk_still_runs_by_its_body(rng: np.random.Generator) -> None:
    raw = model().SerializeToString()
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    feeds = {name: rng.standard_normal(s).astype(np.float32)
             for name, s in (("x", (2, 3, 5, 7)), ("gamma", (2, 3)), ("beta", (2, 3)))}  # fmt: skip
    (found,) = session.run(None, feeds)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x3a\x05ab", "ends within a field"),
        (b"\x3a", "ends within a number"),
        (b"\xff" * 11, "ends within a number"),
        (b"\x0f", "unknown kind 7"),
    ],
)
def test_what_is_no_model_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(CorruptFile, match=text):
        onnx_nodes.with_attributes(raw, "mien", "AdaIN", ADDED)


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=4))
def test_no_bytes_end_in_another_error(raw: bytes, at: int, instead: bytes) -> None:
    whole = model((1, 1, 1, 1)).SerializeToString()
    for attempt in (raw, whole[:at] + instead + whole[at + len(instead) :]):
        try:
            onnx_nodes.with_attributes(attempt, "mien", "AdaIN", ADDED)
        except CorruptFile:
            pass


def test_a_library_without_plugins_gets_the_model_as_it_is() -> None:
    raw = model().SerializeToString()
    for name in ("no_such_trt", "json"):  # TensorRT-RTX has the request, and no plugin package
        library = ModuleType(name)
        library.__dict__.update(NetworkDefinitionCreationFlag=SimpleNamespace())
        assert plugin.prepared(library, raw) is raw
        assert plugin.network_flags(library) == 0
        library.__dict__.update(QuickPluginCreationRequest=object)
        assert plugin.prepared(library, raw) is raw


def test_a_library_with_plugins_gets_one_registered(trt: ModuleType) -> None:
    raw = model().SerializeToString()
    for _ in range(2):
        assert plugin.prepared(trt, raw) != raw
    assert plugin.network_flags(trt) == 1 << 2
    told = trt.plugin.told
    assert len(get_args(told["aot_impl"].__annotations__["return"])) == 4  # it is refused without
    assert told["autotune"](1, 2, 3, 4) == [(", ".join(["FP32|FP16|BF16"] * 4), "LINEAR")]
    x = Recorded.TensorDesc(Sizes((1, 2, 3, 4)), "HALF")
    assert told["register"](x, x, x) == ("like", x)


@pytest.mark.parametrize(
    ("dtype", "suffix", "size"), [("FLOAT", "f32", 4), ("HALF", "f16", 2), ("BF16", "bf16", 2)]
)
def test_the_kernel_is_launched_for_the_planes_there_are(
    trt: ModuleType, dtype: str, suffix: str, size: int
) -> None:
    plugin.prepared(trt, b"")
    implementation = trt.plugin.told["aot_impl"]

    def launched(shape: Sizes) -> tuple[Any, ...]:
        x = Recorded.TensorDesc(shape, dtype)
        return tuple(implementation(x, x, x, (x,), 0))

    name, ptx, launch, extra = launched(Sizes((2, 64, 16, 16)))
    assert (name, ptx) == (f"adain_plugin_{suffix}", b"PTX of adain_nchw")
    assert launch.grid_x == 128
    assert dict(extra) == {0: 256, 1: 256}
    assert launch.shared_mem == 512 + 256 * size
    assert launch.block_x == 32

    *_, launch, extra = launched(Sizes((1, 8, 512, 512)))
    assert launch.shared_mem <= 48 * 1024
    assert dict(extra) == {0: 512 * 512, 1: (48 * 1024 - 512) // size}
    assert launch.block_x == 512

    ranged = Sizes((4, 8, 64, 64))
    ranged.opt, ranged.max = (1, 8, 64, 64), (4, 8, 96, 96)
    *_, launch, extra = launched(ranged)
    assert extra[1] == 96 * 96  # what the largest planes need, whatever comes
    assert launch.block_x == (256 if size == 4 else 128)


@pytest.mark.filterwarnings("ignore")  # of their own source
def test_the_real_bindings_take_the_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their Python half checks the names, types and order of everything it is given."""
    trt = pytest.importorskip("tensorrt", reason="TensorRT's bindings are not installed")
    if plugin._plugin_module("tensorrt") is None:
        pytest.skip("this TensorRT has no plugins")
    registered: list[Any] = []
    registry = SimpleNamespace(
        register_creator=lambda creator, namespace: registered.append((creator.name, namespace)),
        get_creator=lambda *identity: identity,
    )
    library = importlib.import_module("tensorrt.plugin._lib")
    monkeypatch.setattr(library.trt, "get_plugin_registry", lambda: registry)
    plugin.register("tensorrt")
    definition = library.QDP_REGISTRY["mien::AdaIN"]
    assert registered == [("AdaIN", "mien")]
    assert definition.input_tensor_names == ["x", "gamma", "beta"]
    assert definition.num_outputs == 1
    assert definition.aot_impl_func is not None
    (combination,) = definition.autotune_func(None, None, None, None)
    found = [c.types for c in combination._get_combinations()]
    assert found == [[kind] * 4 for kind in (trt.float32, trt.float16, trt.bfloat16)]
