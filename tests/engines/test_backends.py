"""One contract for all backends: what they compute, what they refuse, and that they tell."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mien_engines import Bundle, backends
from mien_engines.backends import ort
from mien_engines.backends.base import Backend, RunLoop, Session
from mien_engines.backends.ort import (
    RECORD,
    OrtCuda,
    OrtSession,
    Placed,
    heavy_elsewhere,
    placement,
)
from mien_engines.errors import (
    ArchMismatch,
    BackendUnavailable,
    BuildFailed,
    InputError,
    NotFinite,
    RunError,
)

F32 = NDArray[np.float32]
RATE = np.array(0.25, np.float32)
# bf16 keeps 8 bits of a product's factors: 3 products of normal numbers stay within this.
TOLERANCE = {"f32": 1e-5, "bf16": 0.05}


@pytest.fixture
def opened(backend: Backend, tiny: Bundle) -> Callable[[str], Session]:
    return lambda graph: backend.open(tiny.graph_path(graph), tiny.graph(graph), threads=1)


@pytest.fixture
def start(rng: np.random.Generator) -> dict[str, F32]:
    w, target = rng.standard_normal((2, 3, 5)).astype(np.float32)
    return {"w": w, "target": target, "rate": RATE}


def test_a_listed_backend_is_what_its_entry_says() -> None:
    assert [backends.get(name).name for name in backends.LISTING] == list(backends.LISTING)
    assert backends.get(backends.REFERENCE).precision == "f32"


def test_an_unknown_backend_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(BackendUnavailable, match=r"no backend 'cuda'.*ort, ort-cuda, ov, ov-bf16"):
        backends.get("cuda")


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_linear_map_is_linear(
    opened: Callable[[str], Session], tiny: Bundle, rng: np.random.Generator, batch: int
) -> None:
    session = opened("linear")
    weights = load_file(tiny.folder / "weights.safetensors")
    x = rng.standard_normal((batch, 3)).astype(np.float32)
    y = session.run({"x": x})["y"]
    expected = x @ weights["A"] + weights["b"]
    atol = TOLERANCE[session.backend.precision]
    np.testing.assert_allclose(y, expected, rtol=0, atol=atol)
    assert y.dtype == np.float32


def test_a_picture_comes_out_in_bytes(
    opened: Callable[[str], Session], rng: np.random.Generator
) -> None:
    y = rng.standard_normal((4, 5)).astype(np.float32)
    image = opened("picture").run({"y": y})["image"]
    expected = np.rint(255 / (1 + np.exp(-y)))
    assert image.dtype == np.uint8
    assert image.shape == (4, 5, 1)
    np.testing.assert_allclose(image[..., 0], expected, rtol=0, atol=1)


def test_a_loop_follows_the_closed_form(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    # Descent on |w - target|^2 / 2 leaves (1 - rate)^n of the distance after n steps.
    session = opened("descent")
    loop = session.loop(start)
    for steps in range(1, 5):
        loop.step()
        left = 0.75**steps * (start["w"] - start["target"])
        atol = TOLERANCE[session.backend.precision]
        np.testing.assert_allclose(loop.read("w_next"), start["target"] + left, rtol=0, atol=atol)
        np.testing.assert_array_equal(loop.state()["w"], loop.read("w_next"))


def test_a_loop_gives_the_bits_of_repeated_runs(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    session = opened("descent")
    fast, plain = session.loop(start), RunLoop(session, start)
    for step in range(9):
        if step == 4:
            for loop in (fast, plain):
                loop.set("rate", np.array(0.5, np.float32))
                loop.set("w", start["target"] + 1)
        fast.step()
        plain.step()
        for name in ("w_next", "loss"):
            np.testing.assert_array_equal(fast.read(name), plain.read(name))
        np.testing.assert_array_equal(fast.state()["w"], plain.state()["w"])


@pytest.mark.parametrize("counts", [(5,), (1, 3, 2), (20,)])
def test_steps_taken_together_give_the_bits_of_single_steps(
    opened: Callable[[str], Session], start: dict[str, F32], counts: tuple[int, ...]
) -> None:
    session = opened("descent")
    together, single = session.loop(start), session.loop(start)
    assert together.stride >= 1
    for count in counts:
        rates = np.array([1 / (2 + single.steps + i) for i in range(count)], np.float32)
        targets = np.stack([start["target"] * (1 + rate) for rate in rates])
        together.advance(count, {"rate": rates, "target": targets})
        for rate, target in zip(rates, targets, strict=True):
            single.set("rate", np.asarray(rate))
            single.set("target", target)
            single.step()
        assert together.steps == single.steps
        for name in ("w_next", "loss"):
            np.testing.assert_array_equal(together.read(name), single.read(name))
        np.testing.assert_array_equal(together.state()["w"], single.state()["w"])


def test_schedules_that_do_not_fit_are_refused(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    loop = opened("descent").loop(start)
    with pytest.raises(InputError, match=r"schedule of rate has shape \(2,\), expected 3 values"):
        loop.advance(3, {"rate": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="has no input 'speed'"):
        loop.advance(1, {"speed": np.zeros(1, np.float32)})
    with pytest.raises(InputError, match="dtype float64"):
        loop.advance(2, {"rate": np.zeros(2)})
    loop.advance(0)
    assert loop.steps == 0


def test_a_loop_stopped_and_resumed_gives_the_same_bits(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    session = opened("descent")
    whole, part = session.loop(start), session.loop(start)
    for _ in range(7):
        whole.step()
    for _ in range(3):
        part.step()
    resumed = session.loop(start | part.state())
    for _ in range(4):
        resumed.step()
    np.testing.assert_array_equal(whole.read("w_next"), resumed.read("w_next"))


def test_loops_leave_their_inputs_and_what_was_read_alone(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    before = {name: array.copy() for name, array in start.items()}
    loop = opened("descent").loop(start)
    loop.step()
    read, state = loop.read("w_next"), loop.state()["w"]
    kept = read.copy()
    loop.step()
    loop.step()
    np.testing.assert_array_equal(read, kept)
    np.testing.assert_array_equal(state, kept)
    for name, array in start.items():
        np.testing.assert_array_equal(array, before[name])


def test_two_loops_and_runs_between_them_do_not_meet(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    session = opened("descent")
    alone, disturbed = session.loop(start), session.loop(start)
    other = session.loop(start | {"target": -start["target"]})
    for _ in range(3):
        alone.step()
    for _ in range(3):
        disturbed.step()
        other.step()
        session.run(start)
    np.testing.assert_array_equal(alone.read("w_next"), disturbed.read("w_next"))


@pytest.fixture
def eager_switching() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
def test_eight_threads_get_what_one_gets(
    opened: Callable[[str], Session], rng: np.random.Generator
) -> None:
    session = opened("linear")
    inputs = [rng.standard_normal((1 + i % 3, 3)).astype(np.float32) for i in range(8)]
    expected = [session.run({"x": x})["y"] for x in inputs]
    wrong: list[int] = []
    together = threading.Barrier(8)

    def work(i: int) -> None:
        together.wait()
        for _ in range(50):
            if not np.array_equal(session.run({"x": inputs[i]})["y"], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_inputs_that_do_not_fit_are_named(opened: Callable[[str], Session]) -> None:
    linear, descent = opened("linear"), opened("descent")
    row, five = np.zeros((1, 3), np.float32), np.zeros((2, 5), np.float32)
    with pytest.raises(InputError, match=r"graph linear: input x \(N, 3\) is missing"):
        linear.run({})
    with pytest.raises(InputError, match=r"graph linear has no input 'z'. It has: x"):
        linear.run({"x": row, "z": row})
    with pytest.raises(InputError, match=r"x has dtype float64, expected float32.*astype"):
        linear.run({"x": np.zeros((1, 3))})
    with pytest.raises(InputError, match=r"x has shape \(1, 4\), expected \(N, 3\)"):
        linear.run({"x": np.zeros((1, 4), np.float32)})
    with pytest.raises(InputError, match=r"x has shape \(3,\), expected \(N, 3\)"):
        linear.run({"x": row[0]})
    with pytest.raises(InputError, match=r"x has shape \(0, 3\)"):
        linear.run({"x": row[:0]})
    with pytest.raises(InputError, match=r"target has shape \(1, 5\), .* with N = 2"):
        descent.run({"w": five, "target": five[:1], "rate": RATE})


def test_inputs_need_not_be_contiguous(
    opened: Callable[[str], Session], rng: np.random.Generator
) -> None:
    session = opened("linear")
    x = rng.standard_normal((3, 4)).astype(np.float32).T
    frozen = np.ascontiguousarray(x)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(session.run({"x": x})["y"], session.run({"x": frozen})["y"])


def test_loops_that_cannot_be_are_refused(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    with pytest.raises(InputError, match=r"graph linear has no state. Use run\(\)"):
        opened("linear").loop({"x": np.zeros((1, 3), np.float32)})
    loop = opened("descent").loop(start)
    with pytest.raises(InputError, match="no step was made yet"):
        loop.read("loss")
    with pytest.raises(InputError, match=r"has no output 'w'. It has: w_next, loss"):
        loop.read("w")
    with pytest.raises(InputError, match="has no input 'loss'"):
        loop.set("loss", start["w"])
    with pytest.raises(InputError, match=r"shape \(1, 5\), the loop was started with \(3, 5\)"):
        loop.set("w", start["w"][:1])


def test_infinity_is_never_returned(
    opened: Callable[[str], Session], start: dict[str, F32]
) -> None:
    session = opened("descent")
    endless = start | {"w": np.full((3, 5), 3e38, np.float32)}
    with pytest.raises(NotFinite, match=r"graph descent, .* output loss holds NaN or infinity"):
        session.run(endless)
    loop = session.loop(endless)
    loop.step()
    with pytest.raises(NotFinite, match="loss"):
        loop.read("loss")


def test_a_closed_session_raises_an_error_of_ours(opened: Callable[[str], Session]) -> None:
    with opened("linear") as session:
        session.run({"x": np.zeros((1, 3), np.float32)})
    with pytest.raises(RunError, match="closed"):
        session.run({"x": np.zeros((1, 3), np.float32)})


def test_a_graph_that_is_not_onnx_is_refused(
    backend: Backend, tiny: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "linear.onnx"
    path.write_bytes(b"\x00nonsense")
    with pytest.raises(BuildFailed, match=rf"backend {backend.name} refuses linear\.onnx"):
        backend.open(path, tiny.graph("linear"), threads=1)


def test_a_graph_from_the_future_is_refused(backend: Backend, tiny: Bundle, tmp_path: Path) -> None:
    model = onnx.load(tiny.graph_path("picture"))
    model.graph.node[0].op_type = "Telepathy"
    path = tmp_path / "picture.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildFailed, match="Telepathy"):
        with backend.open(path, tiny.graph("picture"), threads=1) as session:
            session.run({"y": np.zeros((1, 5), np.float32)})


def test_a_graph_with_other_names_is_refused(backend: Backend, tiny: Bundle) -> None:
    spec = tiny.graph("linear").model_copy(update={"file": "picture.onnx"})
    with pytest.raises(ArchMismatch, match=r"picture\.onnx has inputs y, its manifest says x"):
        backend.open(tiny.graph_path("picture"), spec, threads=1)


def test_asking_for_cuda_never_gives_a_cpu(tiny: Bundle) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(BackendUnavailable, match=r"has no CUDAExecutionProvider.*pip install"):
        backends.get("ort-cuda").open(tiny.graph_path("linear"), tiny.graph("linear"))


def test_a_session_on_another_device_than_asked_for_is_refused(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without CUDA's libraries ONNX Runtime only warns, and gives a session on the CPU.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises((BackendUnavailable, BuildFailed), match="ort-cuda"):
        backends.get("ort-cuda").open(tiny.graph_path("linear"), tiny.graph("linear"))


NODES = [
    Placed("CUDAExecutionProvider", "Conv", "deep"),
    Placed("CPUExecutionProvider", "Shape", "shape"),
    Placed("CPUExecutionProvider", "Concat", "sizes"),
]


def test_shapes_may_be_computed_on_the_cpu_and_heavy_work_may_not() -> None:
    cuda = "CUDAExecutionProvider"
    assert heavy_elsewhere(NODES, cuda) == []
    for kind in ("Conv", "ConvTranspose", "MatMul", "Gemm", "FusedConv", "FusedMatMul"):
        astray = Placed("CPUExecutionProvider", kind, "astray")
        assert heavy_elsewhere([*NODES, astray], cuda) == [astray]
        assert heavy_elsewhere([*NODES, astray._replace(provider=cuda)], cuda) == []


def test_onnx_runtime_tells_where_its_operators_run(tiny: Bundle) -> None:
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this onnxruntime does not tell")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD, "1")
    session = onnxruntime.InferenceSession(
        tiny.graph_path("linear"), options, providers=["CPUExecutionProvider"]
    )
    placed = placement(session)
    assert {node.provider for node in placed} == {"CPUExecutionProvider"}
    assert [node.kind for node in heavy_elsewhere(placed, "CUDAExecutionProvider")] in (
        ["MatMul"],
        ["Gemm"],  # with the Add that follows
    )


class Posing(OrtCuda):
    """The backend for CUDA with the CPU as its device: all but the device is real."""

    provider = "CPUExecutionProvider"

    def provider_options(self) -> dict[str, str]:
        return {}


def test_a_session_with_its_heavy_work_on_the_cpu_is_refused(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    Posing().open(tiny.graph_path("linear"), tiny.graph("linear")).close()
    monkeypatch.setattr(
        ort, "placement", lambda session: [n._replace(provider="Other") for n in placement(session)]
    )
    with pytest.raises(
        BuildFailed, match=r"ort-cuda: 1 heavy operators of graph linear would run on the CPU"
    ):
        Posing().open(tiny.graph_path("linear"), tiny.graph("linear"))
    # What has no heavy operator is taken, and what fails is not tried again on the CPU.
    with Posing().open(tiny.graph_path("picture"), tiny.graph("picture")) as session:
        assert isinstance(session, OrtSession)
        assert not session.session._enable_fallback


QUIET = """
import sys, pathlib
seen = []
sys.addaudithook(lambda event, args: event.startswith("socket.") and seen.append(event))
from mien_engines import backends
print(backends.get("ov").probe())
assert "openvino_telemetry" not in sys.modules
assert not seen, seen
assert not list(pathlib.Path.home().iterdir())
"""


def test_openvino_reports_to_no_one(tmp_path: Path) -> None:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("CI", "GITHUB_ACTIONS")
    }
    environment |= {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("openvino 20")
