"""The gate lets no wrong backend pass, and the choice says what it did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import mien_engines
from mien_engines import Bundle, Choice, Engine, Gate, backends
from mien_engines.backends.base import Session
from mien_engines.backends.feeds import Array
from mien_engines.backends.ort import Ort, OrtSession
from mien_engines.errors import (
    ArchMismatch,
    BackendUnavailable,
    BuildFailed,
    DeviceLost,
    EngineError,
    MienError,
    ParityFailed,
    RunError,
)
from mien_engines.parity import Referee, distance, excess
from mien_engines.spec import GraphSpec, Precision

NewBundle = Callable[..., Bundle]
Fault = Callable[[dict[str, Array]], dict[str, Array]]
LATE = 0.005  # seconds: well above what a tiny graph takes


class FaultyBackend(Ort):
    """ONNX Runtime with a fault that shows from a certain call on."""

    def __init__(
        self, name: str, fault: Fault, call: int = 0, precision: Precision = "f32"
    ) -> None:
        self.name = name  # type: ignore[misc]
        self.precision = precision  # type: ignore[misc]
        self.fault, self.call = fault, call
        self.sessions: list[FaultySession] = []

    @property
    def opened(self) -> int:
        return len(self.sessions)

    @property
    def held(self) -> int:
        """Sessions that are not closed."""
        return sum(not session._closed for session in self.sessions)

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        sound = super().open_impl(path, spec, threads, cache)
        assert isinstance(sound, OrtSession)
        self.sessions.append(FaultySession(spec, self, sound))
        return self.sessions[-1]


class FaultySession(Session):
    def __init__(self, spec: GraphSpec, backend: FaultyBackend, sound: OrtSession) -> None:
        super().__init__(spec, backend)
        self.sound, self.faulty, self.calls = sound, backend, 0

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        outputs = self.sound.run_impl(feeds)
        self.calls += 1
        return self.faulty.fault(outputs) if self.calls > self.faulty.call else outputs

    def close_impl(self) -> None:
        self.sound.close()


class SlowOrt(Ort):
    """A reference that is slower than any candidate, so that the candidates' order decides."""

    name = "ort"
    opened: ClassVar[int] = 0

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        type(self).opened += 1
        session = super().open_impl(path, spec, threads, cache)
        run = session.run_impl

        def slowly(feeds: dict[str, Array]) -> dict[str, Array]:
            time.sleep(LATE)
            return run(feeds)

        session.run_impl = slowly  # type: ignore[method-assign]
        session.loop_impl = lambda feeds, sizes: Session.loop_impl(session, feeds, sizes)  # type: ignore[method-assign]
        return session


def honest(outputs: dict[str, Array]) -> dict[str, Array]:
    return outputs


def lie(outputs: dict[str, Array]) -> dict[str, Array]:
    return {name: array + array.dtype.type(100) for name, array in outputs.items()}


def nan(outputs: dict[str, Array]) -> dict[str, Array]:
    return {name: np.full_like(array, np.nan) for name, array in outputs.items()}


def fail(outputs: dict[str, Array]) -> dict[str, Array]:
    raise RuntimeError("device\n  lost")


def swap_shape(outputs: dict[str, Array]) -> dict[str, Array]:
    return {name: array[:1] for name, array in outputs.items()}


def slow(outputs: dict[str, Array]) -> dict[str, Array]:
    time.sleep(4 * LATE)
    return outputs


def chosen(bundle: Bundle, *others: FaultyBackend, graph: str = "linear") -> Choice:
    reference = SlowOrt()
    with Engine(bundle, [*others, reference], reference, threads=1) as engine:
        engine.session(graph)
        (choice,) = engine.report()
        assert engine.backend_of(graph) == choice.backend
        return choice


@pytest.mark.parametrize("graph", ["linear", "descent"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lie, "from the reference, tolerance"),
        (nan, "holds NaN or infinity"),
        (fail, "device lost"),
        (slow, "ms a call"),
    ],
)
def test_a_faulty_backend_is_refused_with_its_reason(
    tiny: Bundle, graph: str, fault: Fault, reason: str
) -> None:
    choice = chosen(tiny, FaultyBackend("bad", fault), graph=graph)
    assert choice.backend == "ort"
    assert reason in choice.refused["bad"]


def test_an_output_of_another_shape_is_refused(tiny: Bundle) -> None:
    choice = chosen(tiny, FaultyBackend("bad", swap_shape))
    assert (choice.backend, "y is inf" in choice.refused["bad"]) == ("ort", True)


def test_the_next_one_steps_in_for_a_faulty_backend(tiny: Bundle) -> None:
    bad, good = FaultyBackend("bad", lie), FaultyBackend("good", honest)
    choice = chosen(tiny, bad, good)
    assert choice.backend == "good"
    assert choice.seconds is not None
    assert set(choice.refused) == {"bad", "ort"}


@pytest.mark.parametrize("graph", ["linear", "descent"])
def test_only_the_session_that_was_chosen_stays_open(tiny: Bundle, graph: str) -> None:
    reference = FaultyBackend("ort", slow)
    good = FaultyBackend("good", honest)
    others = [FaultyBackend(fault.__name__, fault) for fault in (lie, nan, fail)]
    with Engine(tiny, [*others, good, reference], reference, threads=1) as engine:
        assert engine.backend_of(graph) == "good"
        assert [backend.opened for backend in (*others, good, reference)] == 5 * [1]
        assert [backend.held for backend in (*others, good, reference)] == [0, 0, 0, 1, 0]
    assert good.held == 0
    with pytest.raises(MienError):
        Engine(tiny, [others[0]], reference, threads=1).session(graph)
    assert others[0].held + reference.held == 0


def test_who_cannot_be_closed_spoils_no_choice(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(session: FaultySession) -> None:
        if session.backend.name == "lost":
            raise DeviceLost("the GPU is gone")
        session.sound.close()

    monkeypatch.setattr(FaultySession, "close_impl", lost)
    others = [FaultyBackend(name, slow) for name in ("lost", "ort")]
    good = FaultyBackend("good", honest)
    with Engine(tiny, [good, *others], others[1], threads=1) as engine:
        assert engine.backend_of("linear") == "good"
        assert [backend.held for backend in (good, *others)] == [1, 0, 0]
    assert "lost could not be closed: the GPU is gone" in caplog.text


def test_a_backend_that_lies_later_is_found_by_the_loop(tiny: Bundle) -> None:
    # The first call of a new session is right: it takes the whole run of steps to see the fault.
    gate = Gate(kind="loop", tolerance=0.01, steps=5, watch="loss")
    late = FaultyBackend("late", lie, call=3)
    spec = tiny.graph("descent").model_copy(update={"gate": gate})
    with (
        Ort().open(tiny.graph_path("descent"), spec, 1) as reference,
        late.open(tiny.graph_path("descent"), spec, 1) as candidate,
    ):
        result = Referee(tiny, lambda graph: reference).check("descent", candidate, reference)
    assert not result.passed


def test_a_precision_that_the_bundle_does_not_list_is_not_admitted(tiny: Bundle) -> None:
    choice = chosen(tiny, FaultyBackend("half", honest, precision="fp16"))
    assert choice.backend == "ort"
    assert "admits no fp16" in choice.refused["half"]


def test_a_lower_precision_has_to_be_worth_it(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def take(seconds: float) -> Fault:
        def pass_time(outputs: dict[str, Array]) -> dict[str, Array]:
            nonlocal now
            now += seconds
            return outputs

        return pass_time

    monkeypatch.setattr("mien_engines.choose.time.perf_counter", lambda: now)
    low = FaultyBackend("low", take(0.98), precision="bf16")
    full = FaultyBackend("full", take(1.0))
    reference = FaultyBackend("reference", take(4.0))
    engine = Engine(tiny, [low, full, reference], reference, threads=1)
    assert engine.backend_of("linear") == "full"


def test_a_graph_that_is_run_once_is_not_measured(tiny: Bundle) -> None:
    other = FaultyBackend("other", honest)
    choice = chosen(tiny, other, graph="picture")
    assert (choice.backend, choice.seconds, other.opened) == ("ort", None, 0)


def test_without_samples_the_reference_runs_and_the_report_says_why(
    new_bundle: NewBundle,
) -> None:
    choice = chosen(new_bundle(sampled=False), FaultyBackend("other", honest))
    assert choice.backend == "ort"
    assert "there is no sample of its input x" in choice.refused["other"]


def test_a_sample_may_come_from_another_graph(tiny: Bundle) -> None:
    # There is no sample.y: it is what `linear` makes of sample.x.
    reference = backends.get("ort")
    referee = Referee(
        tiny, lambda graph: reference.open(tiny.graph_path(graph), tiny.graph(graph), 1)
    )
    with reference.open(tiny.graph_path("linear"), tiny.graph("linear"), 1) as session:
        y = session.run({"x": tiny.constants["sample.x"]})["y"]
    np.testing.assert_array_equal(referee.feeds("picture")["y"], y)


def test_a_backend_asked_for_by_name_is_taken_or_refused(tiny: Bundle) -> None:
    reference = Ort()
    good, bad = FaultyBackend("good", honest), FaultyBackend("bad", lie)
    for graph in ("linear", "picture", "descent"):
        assert Engine(tiny, [good], reference, threads=1).backend_of(graph) == "good"
        with pytest.raises(ParityFailed, match=f"graph {graph}, backend bad"):
            Engine(tiny, [bad], reference, threads=1).session(graph)
    with pytest.raises(RunError, match="device lost"):
        Engine(tiny, [FaultyBackend("lost", fail)], reference, threads=1).session("linear")


def test_a_backend_that_fails_later_says_so_and_is_not_replaced(tiny: Bundle) -> None:
    weak = FaultyBackend("weak", honest)
    engine = Engine(tiny, [weak], Ort(), threads=1)
    x = tiny.constants["sample.x"]
    engine.run("linear", x=x)
    weak.fault = fail
    with pytest.raises(RunError, match="graph linear, backend weak: device lost"):
        engine.run("linear", x=x)


def test_cuda_by_name_raises_where_there_is_none(tiny: Bundle) -> None:
    try:
        backends.get("ort-cuda").probe()
    except BackendUnavailable:
        with pytest.raises(BackendUnavailable, match="pip install"):
            mien_engines.open(tiny, "ort-cuda")
    else:
        pytest.skip("there is a CUDA device")
    with pytest.raises(BackendUnavailable, match="no backend 'tpu'"):
        mien_engines.open(tiny, "tpu")


def test_unasked_every_available_backend_is_in_the_report(tiny: Bundle) -> None:
    with mien_engines.open(tiny.folder, graphs=["linear", "descent"], threads=1) as engine:
        for choice in engine.report():
            # Those that run plans take part once there are some.
            offered = {name for name in backends.LISTING if backends.get(name).offered()}
            assert {choice.backend, *choice.refused} == offered
            assert {"ort", "ort-cuda", "ov", "ov-bf16"} == offered
        y = engine.run("linear", x=tiny.constants["sample.x"])["y"]
        assert engine.run("picture", y=y)["image"].dtype == np.uint8
    with pytest.raises(EngineError, match="is closed"):
        engine.run("linear", x=tiny.constants["sample.x"])


def test_an_unknown_graph_is_answered_with_those_that_there_are(tiny: Bundle) -> None:
    with pytest.raises(ArchMismatch, match="It has: descent, linear, picture"):
        mien_engines.open(tiny).run("swap")


def test_a_choice_is_remembered(tiny: Bundle, cache: Path) -> None:
    other = FaultyBackend("other", honest)
    first = chosen(tiny, other)
    before = SlowOrt.opened
    assert chosen(tiny, other) == first
    assert SlowOrt.opened == before  # the reference was not needed again
    assert len(list((cache / "choices").iterdir())) == 1


def test_a_choice_holds_for_one_bundle_and_one_set_of_backends(
    new_bundle: NewBundle, cache: Path
) -> None:
    other = FaultyBackend("other", honest)
    one, two = new_bundle("one"), new_bundle("two", seed=1)
    for bundle, candidates in ((one, [other]), (two, [other]), (one, [])):
        chosen(bundle, *candidates, graph="descent")
    assert len(list((cache / "choices").iterdir())) == 2  # a lone reference has nothing to choose


@pytest.mark.parametrize("text", ["", "{", "[]", '{"graph": "linear", "backend": "rm -rf"}'])
def test_a_damaged_choice_is_measured_again(tiny: Bundle, cache: Path, text: str) -> None:
    other = FaultyBackend("other", honest)
    chosen(tiny, other)
    (path,) = (cache / "choices").iterdir()
    path.write_text(text)
    assert chosen(tiny, other).backend == "other"
    assert json.loads(path.read_text())["backend"] == "other"


def test_a_remembered_backend_that_no_longer_opens_is_replaced(tiny: Bundle) -> None:
    class Gone(FaultyBackend):
        def open_impl(self, *args: object) -> Session:
            raise BuildFailed("out of order")

    chosen(tiny, FaultyBackend("other", honest))
    choice = chosen(tiny, Gone("other", honest))
    assert choice.backend == "ort"
    assert choice.refused == {"other": "out of order"}


def test_distances_are_relative_to_the_range_or_to_the_loss() -> None:
    expected = np.array([0, 128, 255], np.uint8)
    assert distance(np.array([0, 128, 0], np.uint8), expected) == 1
    assert distance(np.array([3.0, 3.5]), np.array([3.0, 3.0])) == 0.5
    assert distance(expected[:2], expected) == np.inf
    assert excess(np.array([1.1, 0.5]), np.array([1.0, 1.0])) == pytest.approx(0.1)
    assert excess(np.array([-0.9]), np.array([-1.0])) == pytest.approx(0.1)
