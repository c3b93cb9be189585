"""`build`: forms, gate, cache and report, on a fake GPU and on the real builder of TensorRT-RTX."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from tests.engines import fake_gpu
from tests.engines.fake_gpu import (
    ALLOCATES,
    FakeBuilder,
    FakeDevice,
    FakeEngine,
    FakeILogger,
    FakeRuntime,
    fake_host,
    fake_rtx_host,
    fake_trt,
)

import mien
import mien_engines
from mien_engines import Bundle, Engine, backends, building, choose
from mien_engines.backends.base import Session
from mien_engines.backends.trt import Host, Trt
from mien_engines.building import adopt, build
from mien_engines.errors import (
    BackendUnavailable,
    BuildFailed,
    Cancelled,
    InputError,
    MissingDependency,
    NotBuilt,
    Untrusted,
)
from mien_engines.kernels import sources
from mien_engines.plans import PlanCache
from mien_engines.sizes import parse_sizes, profile, sizes_of
from mien_engines.trt_builder import build_plan, flags_of
from mien_engines.trt_library import Library, library

NewBundle = Callable[..., Bundle]
Names = dict[str, list[str]]
HERE = Path(__file__).parent
NAMES: Names = json.loads((HERE / "trt_names.json").read_text("utf-8"))
RTX_NAMES: Names = json.loads((HERE / "rtx_names.json").read_text("utf-8"))  # beyond those
ENGINES = Path(building.__file__).parent


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A machine with a fake GPU, on which the backends run too."""
    found = fake_host()
    monkeypatch.setattr(Host, "here", classmethod(lambda cls, name, needs_device=True: found))
    return found


def test_what_is_built_is_gated_kept_and_used(host: Host, tiny: Bundle) -> None:
    report = build(tiny, "trt", "fp32")
    assert [plan.state for plan in report.plans] == 3 * ["accepted"]
    assert not report.failed
    assert report.gpu == "Fake GPU"
    for plan in report.plans:
        assert plan.error is not None
        assert plan.tolerance is not None
        assert plan.error <= plan.tolerance
        assert plan.layers
        assert plan.nbytes
        assert Path(str(plan.path)).stat().st_size > plan.nbytes
    x = tiny.constants["sample.x"]
    with mien_engines.open(tiny, "trt") as engine, mien_engines.open(tiny, "ort") as reference:
        found, expected = (e.run("linear", x=x)["y"] for e in (engine, reference))
        assert engine.backend_of("linear") == "trt"
    np.testing.assert_allclose(found, expected, atol=1e-5)
    json.dumps(report.record())


def test_what_is_there_is_not_built_again_unless_asked(host: Host, tiny: Bundle) -> None:
    build(tiny, "trt", graphs=["linear"])
    assert [plan.state for plan in build(tiny, "trt", graphs=["linear"]).plans] == ["kept"]
    again = build(tiny, "trt", graphs=["linear"], again=True)
    assert [plan.state for plan in again.plans] == ["accepted"]


def test_a_plan_that_lies_is_refused_and_never_kept(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FakeEngine.__init__

    def lying(self: FakeEngine, plan: Any, device: Any, logger: Any) -> None:
        model = onnx.load_from_string(plan.model)
        for tensor in model.graph.initializer:
            if tensor.name == "A":
                changed = onnx.numpy_helper.to_array(tensor) * np.float32(1.5)
                tensor.CopyFrom(onnx.numpy_helper.from_array(changed, "A"))
        honest(self, fake_gpu.FakePlan(model.SerializeToString(), plan.profile), device, logger)

    monkeypatch.setattr(FakeEngine, "__init__", lying)
    report = build(tiny, "trt", graphs=["linear"])
    (plan,) = report.plans
    assert report.failed
    assert plan.state == "refused"
    assert plan.path is None
    assert (plan.error or 0) > (plan.tolerance or 0) > 0
    assert not list(PlanCache().root.rglob("*.plan"))
    with pytest.raises(NotBuilt, match="mien build"), mien_engines.open(tiny, "trt") as engine:
        engine.session("linear")


def test_without_a_gpu_a_plan_is_built_and_said_not_to_be_checked(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = Host(Library("rtx", fake_trt(FakeDevice())), None)
    report = build(tiny, "rtx", graphs=["linear"], host=blind)
    (plan,) = report.plans
    assert (plan.state, plan.detail, plan.error) == ("not checked", "no GPU", None)
    assert not report.failed
    assert report.gpu is None
    # A machine with a GPU that is otherwise equal does not use it.
    seeing = Host(blind.library, FakeDevice())
    monkeypatch.setattr(Host, "here", classmethod(lambda cls, name, needs_device=True: seeing))
    with pytest.raises(NotBuilt, match="built for gpu none"), mien_engines.open(tiny, "rtx") as e:
        e.session("linear")


def test_a_graph_that_fails_is_reported_and_the_others_are_built(
    host: Host, new_bundle: NewBundle
) -> None:
    bundle = new_bundle("odd")
    model = onnx.load(bundle.graph_path("picture"))
    model.graph.node[0].op_type = "Telepathy"
    (bundle.folder / "picture.onnx").write_bytes(model.SerializeToString())
    report = build(bundle, "trt")
    states = {plan.graph: plan.state for plan in report.plans}
    assert states == {"linear": "accepted", "picture": "failed", "descent": "accepted"}
    (failed,) = [plan for plan in report.plans if plan.state == "failed"]
    assert re.search(r"backend trt refuses picture.onnx.*Telepathy", failed.detail)
    assert report.failed


def test_steps_are_left_out_of_fp16_unless_they_are_named(host: Host, tiny: Bundle) -> None:
    states = {plan.graph: plan for plan in build(tiny, "trt", "fp16").plans}
    assert states["descent"].state == "left out"
    # The tests' bundle admits fp16 for pictures alone.
    assert states["linear"].detail == "the bundle admits no fp16 for it"
    assert states["picture"].state == "accepted"
    (named,) = build(tiny, "trt", "fp16", ["linear"]).plans
    assert named.state == "refused"


def test_what_is_not_for_a_precision_runs_in_fp32_and_is_said_to(host: Host, tiny: Bundle) -> None:
    build(tiny, "trt", "fp16")
    with pytest.raises(NotBuilt, match="fp32"), mien_engines.open(tiny, "trt-fp16") as engine:
        engine.session("linear")
    build(tiny, "trt", "fp32")
    with mien_engines.open(tiny, "trt-fp16", graphs=["linear", "picture", "descent"]) as engine:
        precisions = {choice.graph: choice.precision for choice in engine.report()}
        assert precisions == {"linear": "f32", "picture": "fp16", "descent": "f32"}
        assert engine.backend_of("picture") == "trt-fp16"
        assert engine.backend_of("linear") == "trt"


def test_the_choice_is_made_anew_after_a_build(host: Host, tiny: Bundle) -> None:
    with mien_engines.open(tiny, threads=1) as engine:
        engine.session("linear")
        (before,) = [choice for choice in engine.report() if choice.graph == "linear"]
    # Where nothing was built for it, it takes no part, and is not mentioned.
    assert not [name for name in before.refused if name.startswith(("trt", "rtx"))]
    build(tiny, "trt", graphs=["linear"])
    with mien_engines.open(tiny, threads=1) as engine:
        engine.session("linear")
        (after,) = [choice for choice in engine.report() if choice.graph == "linear"]
    assert "trt" in {after.backend, *after.refused}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (None, r"has no plan of trt in f32 for this machine"),
        (FakeRuntime, r"TensorRT 11.4.0.106 does not take the plan of graph linear: no tactic"),
    ],
    ids=["not built", "not loaded"],
)
def test_a_graph_that_trt_fails_goes_to_the_next_backend_and_the_report_says_why(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch, broken: Any, reason: str
) -> None:
    """Where no backend was asked for; the one that was asked for is never replaced."""
    whole = FakeBuilder.build_serialized_network

    def fails(self: FakeBuilder, network: Any, config: Any) -> bytes | None:
        if [value.name for value in network.model.graph.input] != ["x"]:
            return whole(self, network, config)
        self.logger.log(FakeILogger.ERROR, "no tactic: workspace too small")
        return None

    def refuses(self: FakeRuntime, plan: bytes) -> None:
        self.logger.log(FakeILogger.ERROR, "no tactic")

    if broken is None:
        monkeypatch.setattr(FakeBuilder, "build_serialized_network", fails)
    built = {plan.graph: plan for plan in build(tiny, "trt", graphs=["linear", "descent"]).plans}
    assert built["descent"].state == "accepted"
    if broken is None:
        assert built["linear"].state == "failed"
        assert "no tactic: workspace too small" in built["linear"].detail
    else:
        monkeypatch.setattr(FakeRuntime, "deserialize_cuda_engine", refuses)
    x = tiny.constants["sample.x"]
    with mien_engines.open(tiny, threads=1) as engine, mien_engines.open(tiny, "ort") as reference:
        found, expected = (e.run("linear", x=x)["y"] for e in (engine, reference))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (choice,) = engine.report()
    assert not choice.backend.startswith("trt")
    assert re.search(reason, choice.refused["trt"])
    with (
        pytest.raises(NotBuilt if broken is None else BuildFailed, match=reason),
        mien_engines.open(tiny, "trt") as asked,
    ):
        asked.run("linear", x=x)


@pytest.mark.parametrize("fastest", ["trt", "ort"])
@pytest.mark.parametrize("graph", ["linear", "descent"])
def test_who_is_not_chosen_holds_no_memory_of_the_device(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch, graph: str, fastest: str
) -> None:
    device = host.device
    assert isinstance(device, FakeDevice)

    def seconds(session: Session, feeds: Mapping[str, Any]) -> float:
        held = session.loop(feeds).step if session.spec.state else lambda: session.run(feeds)
        held()
        return 0.5 if session.backend.name == fastest else 1.0

    build(tiny, "trt", graphs=[graph])
    assert device.leaked == {}
    monkeypatch.setattr(choose, "_seconds_per_call", seconds)
    candidates = [backends.get("trt"), backends.get("ort")]
    with Engine(tiny, candidates, candidates[1], threads=1) as engine:
        assert engine.backend_of(graph) == fastest
        assert bool(device.leaked) == (fastest == "trt")
    assert device.leaked == {}


@pytest.mark.parametrize("what", ["execute", "upload", "launch"])
def test_who_fails_while_it_is_timed_holds_no_memory_of_the_device(
    host: Host, tiny: Bundle, what: str
) -> None:
    """At once, and not when Python happens to collect its garbage."""
    device = host.device
    assert isinstance(device, FakeDevice)
    build(tiny, "trt", graphs=["descent"])
    device.fail[what] = (device.calls(what) + 1, "cuLaunch failed: an odd refusal")
    candidates = [backends.get("trt"), backends.get("ort")]
    gc.disable()
    try:
        with Engine(tiny, candidates, candidates[1], threads=1) as engine:
            assert engine.backend_of("descent") == "ort"
            assert "an odd refusal" in engine.report()[0].refused["trt"]
            assert device.leaked == {}
    finally:
        gc.enable()


def test_a_plan_from_elsewhere_is_adopted_when_it_is_trusted(
    host: Host, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = build(tiny, "trt", graphs=["linear"]).plans
    given = tmp_path / "given.plan"
    given.write_bytes(Path(str(plan.path)).read_bytes())
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "other"))
    with pytest.raises(Untrusted, match="trust_engine=True"):
        adopt(tiny, given)
    assert not (tmp_path / "other").exists()
    assert adopt(tiny, given, trust_engine=True).state == "accepted"
    with mien_engines.open(tiny, "trt") as engine:
        engine.session("linear")
    host.device.facts = mien_engines.device.DeviceInfo("Other GPU", "8.9", "580.1")  # type: ignore[union-attr, attr-defined]
    with pytest.raises(NotBuilt, match="built for gpu Fake GPU, this is Other GPU"):
        adopt(tiny, given, trust_engine=True)


def test_a_tampered_plan_never_reaches_the_runtime(host: Host, tiny: Bundle) -> None:
    (plan,) = build(tiny, "trt", graphs=["linear"]).plans
    path = Path(str(plan.path))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    loaded = len(host.library.trt.engines)
    with pytest.raises(Untrusted, match="damaged"), mien_engines.open(tiny, "trt") as engine:
        engine.session("linear")
    assert len(host.library.trt.engines) == loaded
    # And `build` makes it anew.
    assert [p.state for p in build(tiny, "trt", graphs=["linear"]).plans] == ["accepted"]


def test_what_was_measured_is_kept_for_the_next_build(host: Host, tiny: Bundle) -> None:
    for _ in range(2):
        build(tiny, "trt", graphs=["linear"], again=True)
    (kept,) = PlanCache().root.glob("timing-trt-*.cache")
    assert kept.read_bytes() == b".."


def test_an_update_of_the_driver_clears_what_it_made_useless(host: Host, tiny: Bundle) -> None:
    (old,) = build(tiny, "trt", graphs=["linear"]).plans
    device = host.device
    assert isinstance(device, FakeDevice)
    device.facts = type(device.facts)("Fake GPU", "9.0", "590.2")
    with pytest.raises(NotBuilt, match=r"for driver 580.1, this is 590.2"):
        backends.get("trt").open(tiny.graph_path("linear"), tiny.graph("linear"))
    assert [p.state for p in build(tiny, "trt", graphs=["linear"]).plans] == ["accepted"]
    assert not Path(str(old.path)).exists()


def test_a_plan_is_accepted_whatever_becomes_of_the_tidying_after_it(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(root: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(root))

    monkeypatch.setattr("mien_engines.plans.sweep", gone)
    (plan,) = build(tiny, "trt", graphs=["linear"]).plans
    assert (plan.state, plan.detail) == ("accepted", "y")
    assert Path(str(plan.path)).is_file()


def test_another_kernel_of_a_plugin_is_another_plan(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin: Any = ModuleType("plugin")
    plugin.is_offered, plugin.prepared = lambda trt: True, lambda trt, model: model
    plugin.network_flags = lambda trt: 0
    monkeypatch.setitem(sys.modules, "mien_engines.kernels.plugin", plugin)
    monkeypatch.setattr(sources, "digest", lambda: "old")
    (old,) = build(tiny, "trt", graphs=["linear"]).plans
    monkeypatch.setattr(sources, "digest", lambda: "new")
    with pytest.raises(NotBuilt, match=r"for flags .*kernels old, this is .*kernels new"):
        backends.get("trt").open(tiny.graph_path("linear"), tiny.graph("linear"))
    assert [p.state for p in build(tiny, "trt", graphs=["linear"]).plans] == ["accepted"]
    assert Path(str(old.path)).exists()  # another environment's mien may have the old one still
    backends.get("trt").open(tiny.graph_path("linear"), tiny.graph("linear")).close()


def test_of_plans_of_several_sizes_the_one_asked_for_last_is_used(host: Host, tiny: Bundle) -> None:
    def most() -> int:
        with mien_engines.open(tiny, "trt") as engine:
            engine.session("linear")
        return int(host.library.trt.engines[-1].plan.profile["x"][2][0])

    def built(most: int) -> str:
        (plan,) = build(tiny, "trt", graphs=["linear"], sizes={"N": (1, 2, most)}).plans
        for path in PlanCache().root.glob("*/*.plan"):  # as if some time had passed
            state = path.stat()
            os.utime(path, (state.st_atime, state.st_mtime - 10))
        return plan.state

    assert (built(4), most()) == ("accepted", 4)
    assert (built(9), most()) == ("accepted", 9)
    assert (built(4), most()) == ("kept", 4)
    assert most() == 4


@pytest.fixture
def rtx_host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A machine with a fake GPU and a fake TensorRT-RTX."""
    found = fake_rtx_host()
    monkeypatch.setattr(Host, "here", classmethod(lambda cls, name, needs_device=True: found))
    return found


def test_what_tensorrt_rtx_compiled_is_kept_for_the_next_process(
    rtx_host: Host, tiny: Bundle
) -> None:
    device = rtx_host.device
    assert isinstance(device, FakeDevice)

    def compiled() -> int:
        """How many kernels are compiled by a process that runs two shapes twice."""
        before = device.calls("compile")
        with mien_engines.open(tiny, "rtx") as engine:
            for n in (1, 2, 1, 2):
                engine.run("linear", x=np.ones((n, 3), np.float32))
        return device.calls("compile") - before

    (plan,) = build(tiny, "rtx", graphs=["linear"]).plans
    kernels = Path(str(plan.path)).with_suffix(".kernels")
    assert not kernels.exists()
    # The choice of the first engine runs the samples, of two rows; those shapes are the same.
    assert compiled() == 2
    assert kernels.stat().st_mode & 0o777 == 0o600
    written = kernels.stat()
    assert compiled() == 0
    again = kernels.stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    spoiled = bytearray(kernels.read_bytes())
    spoiled[-1] ^= 1
    kernels.write_bytes(spoiled)
    assert compiled() == 2
    kernels.chmod(0o666)  # others may have put code into it
    assert compiled() == 2
    assert kernels.stat().st_mode & 0o777 == 0o600
    assert compiled() == 0
    build(tiny, "rtx", graphs=["linear"], again=True)
    assert not kernels.exists()  # they were of the plan before
    assert compiled() == 2
    device.facts = type(device.facts)("Fake GPU", "9.0", "590.2")
    build(tiny, "rtx", graphs=["linear"])
    assert not kernels.exists()  # with the plan


def test_a_plan_that_must_allocate_as_it_runs_is_built_and_run_uncaptured(
    rtx_host: Host, new_bundle: NewBundle
) -> None:
    bundle = new_bundle("odd")
    model = onnx.load(bundle.graph_path("linear"), load_external_data=False)
    model.graph.node[0].name = ALLOCATES
    bundle.graph_path("linear").write_bytes(model.SerializeToString())
    states = [p.state for p in build(bundle, "rtx", graphs=["linear", "descent"]).plans]
    assert states == ["accepted", "accepted"]
    assert rtx_host.device is not None
    x, w = np.ones((2, 3), np.float32), np.ones((2, 5), np.float32)
    with mien_engines.open(bundle, "rtx", graphs=["linear", "descent"]) as engine:
        for _ in range(3):
            engine.run("linear", x=x)
            engine.run("descent", w=w, target=w, rate=np.array(0.5, np.float32))
        remarks = {choice.graph: choice.remarks for choice in engine.report()}
    assert remarks["descent"] == ()
    assert remarks["linear"] == (
        "runs without a CUDA graph, and slower: TensorRT-RTX 1.7.1.116 cannot capture it",
    )


def test_where_nothing_can_be_written_plans_run_from_memory(
    host: Host, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder, and still the plans of this process, which says so."""
    (tmp_path / "file").write_text("no folder can be made below a file")
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (plan,) = build(tiny, "trt", graphs=["linear"]).plans
    assert (plan.state, plan.path) == ("accepted", None)
    assert plan.detail.endswith("it could not be kept, and lasts as long as this process")
    (again,) = build(tiny, "trt", graphs=["linear"]).plans
    assert (again.state, again.path, again.detail) == ("kept", None, plan.detail)
    assert backends.get("trt").offered()
    x = tiny.constants["sample.x"]
    with mien_engines.open(tiny, "trt") as engine, mien_engines.open(tiny, "ort") as reference:
        found, expected = (e.run("linear", x=x)["y"] for e in (engine, reference))
        assert engine.backend_of("linear") == "trt"
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_progress_is_told_and_may_stop_the_build(host: Host, tiny: Bundle) -> None:
    told: list[tuple[str, int, int]] = []
    build(tiny, "trt", graphs=["linear"], progress=lambda *step: told.append(step))
    assert told[0] == ("linear: Building engine", 0, 2)
    assert told[-1] == ("linear: Building engine", 2, 2)

    def stop(*step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Cancelled, match="stopped"):
        build_plan(host.library, tiny.graph_path("linear"), {"x": ((1, 3),) * 3}, progress=stop)


def test_a_plugin_is_used_where_there_is_one(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    def prepared(trt: Any, model: bytes) -> bytes:
        seen.append(model)
        return model

    plugin: Any = ModuleType("plugin")
    plugin.is_offered, plugin.prepared = lambda trt: True, prepared
    plugin.network_flags = lambda trt: 1 << 3
    monkeypatch.setitem(sys.modules, "mien_engines.kernels.plugin", plugin)
    assert any(flag.startswith("AdaIN plugin") for flag in flags_of(host.library))
    (plan,) = build(tiny, "trt", graphs=["linear"]).plans
    assert plan.state == "accepted"
    assert seen == [tiny.graph_path("linear").read_bytes()]
    plugin.is_offered = lambda trt: False
    assert not any(flag.startswith("AdaIN plugin") for flag in flags_of(host.library))


def test_arguments_that_are_none_are_refused(host: Host, tiny: Bundle) -> None:
    with pytest.raises(InputError, match=r"for trt or rtx, not for 'ort'"):
        build(tiny, "ort")
    with pytest.raises(InputError, match=r"no precision 'int8'.*fp32, fp16, bf16"):
        build(tiny, "trt", "int8")
    with pytest.raises(InputError, match=r"no graph has an open dimension 'H'.*There are: N"):
        build(tiny, "trt", sizes={"H": (1, 2, 3)})
    with pytest.raises(InputError, match=r"'N=4' is not NAME=LEAST:USUAL:GREATEST"):
        parse_sizes(["N=4"])
    (plan,) = build(tiny, "trt", graphs=["linear"], sizes={"N": (4, 2, 1)}).plans
    assert "size N is 4:2:1, expected 1 <= least" in plan.detail
    assert parse_sizes(["N=1:2:8", "H=64:512:1024"]) == {"N": (1, 2, 8), "H": (64, 512, 1024)}


def test_without_onnx_the_remedy_is_said(
    host: Host, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    (plan,) = build(tiny, "trt", "fp16", ["picture"]).plans
    assert plan.state == "failed"
    assert "needs onnx. Type: pip install 'mien[build]'" in plan.detail
    with pytest.raises(MissingDependency):
        building.form_of(tiny, "picture", "fp16", (), (), Path("unused"))


def test_sizes_follow_the_bundle_and_parts_follow_their_wholes(tiny: Bundle) -> None:
    spec = tiny.graph("linear")
    sizes = sizes_of(tiny.spec, spec, {"N": (1, 4, 6)})
    assert profile(spec, sizes) == {"x": ((1, 3), (4, 3), (6, 3))}
    tensor = spec.inputs[0].model_copy(update={"shape": ("N", 8, "H/4", "W")})
    quarter = spec.model_copy(update={"inputs": (tensor,)})
    found = profile(quarter, {"N": (1, 1, 1), "H": (30, 64, 130), "W": (5, 6, 7)})
    assert found["x"] == ((1, 8, 7, 5), (1, 8, 16, 6), (1, 8, 33, 7))


def test_a_trt_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_trt(FakeDevice(), "8.6.1")
    monkeypatch.setattr(importlib, "import_module", lambda name: old)
    library.cache_clear()
    try:
        with pytest.raises(BackendUnavailable, match=r"needs TensorRT 10.16 or later.*8.6.1"):
            library("trt")
    finally:
        library.cache_clear()


def test_without_a_tensorrt_what_to_type_is_said() -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(BackendUnavailable, match=r"needs TensorRT .*'mien\[tensorrt\]'"):
            library("trt")
    else:
        pytest.skip("TensorRT is installed")


# The names that mien uses, against the real bindings.

CHAIN = re.compile(r"\btrt\.([A-Za-z]\w*)(?:\.([A-Za-z]\w*))?")


def used_names() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for file in (
        "trt_builder.py",
        "trt_library.py",
        "backends/trt.py",
        "backends/lane.py",
        "backends/contexts.py",
    ):
        text = (ENGINES / file).read_text()
        found |= {match.groups(default="") for match in CHAIN.finditer(text)}
    return {pair for pair in found if pair[0] not in ("Session", "is_file")}


def test_every_name_that_is_used_is_in_tensorrt_11_or_in_tensorrt_rtx() -> None:
    """trt_names.json holds the part that mien needs of the names of the 11.4.0.106 bindings, and
    rtx_names.json what it takes of TensorRT-RTX beyond them, by feature."""
    used = used_names()
    assert ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") in used
    assert ("BuilderFlag", "REQUIRE_USER_ALLOCATION") in used
    for owner, member in used:
        if owner != "__version__":
            assert owner in NAMES | RTX_NAMES, f"trt.{owner}"
            known = NAMES.get(owner, []) + RTX_NAMES.get(owner, [])
            assert not member or member in known or member.startswith("__"), member


def test_the_fake_has_no_method_that_tensorrt_11_has_not() -> None:
    """So what runs on the fake calls nothing that does not exist."""
    for fake, real in {
        fake_gpu.FakeBuilder: "Builder",
        fake_gpu.FakeConfig: "IBuilderConfig",
        fake_gpu.FakeContext: "IExecutionContext",
        fake_gpu.FakeEngine: "ICudaEngine",
        fake_gpu.FakeNetwork: "INetworkDefinition",
        fake_gpu.FakeParser: "OnnxParser",
        fake_gpu.FakeProfile: "IOptimizationProfile",
        fake_gpu.FakeRuntime: "Runtime",
        fake_gpu.FakeRuntimeConfig: "IRuntimeConfig",
        fake_gpu.FakeTiming: "ITimingCache",
    }.items():
        assert methods_of(fake) <= set(NAMES[real]), real


def methods_of(fake: type) -> set[str]:
    return {name for name in vars(fake) if not name.startswith("_")}


def test_the_fake_rtx_has_nothing_more_than_tensorrt_rtx_has() -> None:
    for fake, real in {
        fake_gpu.FakeRtxContext: "IExecutionContext",
        fake_gpu.FakeRtxEngine: "ICudaEngine",
        fake_gpu.FakeRtxRuntimeConfig: "IRuntimeConfig",
        fake_gpu.FakeRuntimeCache: "IRuntimeCache",
    }.items():
        assert methods_of(fake) <= set(RTX_NAMES.get(real, [])), real
    device = FakeDevice()
    beyond = vars(fake_gpu.fake_rtx(device)).keys() - vars(fake_trt(device)).keys()
    assert beyond <= RTX_NAMES.keys()


def test_the_kept_names_are_those_of_the_published_bindings(shared: Path) -> None:
    published = json.loads((shared / "gpu" / "trt_api_11.4.0.106.json").read_text())
    for owner, members in NAMES.items():
        assert set(members) <= set(published[owner]), owner
    for owner, members in RTX_NAMES.items():  # else they would belong to the others
        assert not set(members) & set(published.get(owner, [])), owner


@pytest.fixture
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    return library("rtx")


def test_tensorrt_rtx_has_the_same_names(rtx: Library) -> None:
    for owner, members in [*NAMES.items(), *RTX_NAMES.items()]:
        for member in members:
            assert hasattr(getattr(rtx.trt, owner), member), f"{owner}.{member}"


# Not picture, of which TensorRT would need the cast to uint8 to come last.
@pytest.mark.parametrize("graph", ["linear", "descent"])
def test_tensorrt_rtx_builds_for_all_sizes_of_a_bundle(
    rtx: Library, tiny: Bundle, graph: str
) -> None:
    if Host.here("rtx", needs_device=False).device is not None:
        pytest.skip("this machine has a GPU, where plans are gated too")
    (plan,) = build(tiny, "rtx", graphs=[graph], sizes={"N": (1, 2, 5)}).plans
    assert (plan.state, plan.detail) == ("not checked", "no GPU"), plan
    assert plan.layers
    assert plan.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_rtx_builds_a_network_that_ships_in_every_precision(
    rtx: Library, precision: str
) -> None:
    if Host.here("rtx", needs_device=False).device is not None:
        pytest.skip("this machine has a GPU, where plans are gated too")
    folder = Path(mien.__file__).parent / "zoo" / "adain"
    if not (folder / "bundle.json").is_file():
        pytest.skip("the bundle is not there")
    (plan,) = build(folder, "rtx", precision, ["transfer"]).plans
    assert plan.state == "not checked", plan


def test_tensorrt_rtx_says_why_it_refuses(rtx: Library, tiny: Bundle, tmp_path: Path) -> None:
    model = onnx.load(tiny.graph_path("picture"))
    model.graph.node[0].op_type = "Telepathy"
    path = tmp_path / "picture.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildFailed, match=r"backend rtx refuses picture.onnx.*Telepathy"):
        build_plan(rtx, path, {"y": ((1, 5), (1, 5), (2, 5))})
    path.write_bytes(b"nonsense")
    with pytest.raises(BuildFailed, match=r"refuses picture\.onnx"):
        build_plan(rtx, path, {"y": ((1, 5), (1, 5), (2, 5))})


def test_tensorrt_rtx_tells_how_far_it_is_and_can_be_stopped(rtx: Library, tiny: Bundle) -> None:
    told: list[tuple[str, int, int]] = []
    shapes = {"x": ((1, 3), (1, 3), (4, 3))}
    built = build_plan(
        rtx, tiny.graph_path("linear"), shapes, progress=lambda *step: told.append(step)
    )
    assert built.plan
    assert len(told) > 5
    assert all(0 <= done <= total for _, done, total in told)

    def stop(*step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Cancelled):
        build_plan(rtx, tiny.graph_path("linear"), shapes, progress=stop)


def test_networks_are_strongly_typed_without_tf32(rtx: Library) -> None:
    assert flags_of(rtx) == ("strongly typed", "no TF32", "memory of ours where it can")
    assert Trt.precision == "f32"
