"""The loop over a step engine, on a descent whose course is known in closed form."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.edits.loop import Course, RunState, Step, descend
from mien.errors import CorruptFile, InputError
from mien_engines import Engine

F32 = NDArray[np.float32]


class FakeLoop:
    """Takes `stride` steps at a visit.

    ws <- ws - rate (ws - goal), so that ws_t = goal + (1 - rate)^t (ws_0 - goal).

    The loss is taken at ws + disturbance, where one is given.
    """

    def __init__(self, feeds: dict[str, F32], stride: int) -> None:
        self.feeds, self.stride = feeds, stride
        self.outputs: dict[str, F32] = {}
        self.visits: list[int] = []

    def step(self) -> None:
        ws, goal = self.feeds["ws"], self.feeds["goal"]
        loss = np.square(ws + self.feeds.get("disturbance", 0) - goal).sum((1, 2))
        self.outputs = {"loss": loss, "terms": loss[:, None], "picture": 2 * ws}
        self.feeds["ws"] = ws - self.feeds["rate"] * (ws - goal)
        self.feeds["t"] = self.feeds["t"] + np.float32(1)

    def advance(self, count: int, schedule: dict[str, F32]) -> None:
        self.visits.append(count)
        assert all(len(values) == count for values in schedule.values())
        for i in range(count):
            self.feeds |= {name: values[i] for name, values in schedule.items()}
            self.step()

    def read(self, name: str) -> F32:
        return self.outputs[name].copy()

    def state(self) -> dict[str, F32]:
        return {name: self.feeds[name].copy() for name in ("ws", "t")}


class FakeEngine:
    def __init__(self, stride: int = 1) -> None:
        self.stride = stride
        self.loops: list[FakeLoop] = []

    def loop(self, graph: str, /, **feeds: F32) -> FakeLoop:
        self.loops.append(FakeLoop(dict(feeds), self.stride))
        return self.loops[-1]


ENGINE = cast(Engine, FakeEngine())


def begin(rng: np.random.Generator, rate: float) -> tuple[RunState, dict[str, Any]]:
    ws, goal = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    state = RunState({"ws": ws, "t": np.zeros(1, np.float32)}, {"target": "it"})
    return state, {"goal": goal, "rate": np.float32(rate)}


def test_the_end_is_the_closed_form(rng: np.random.Generator) -> None:
    state, constants = begin(rng, 0.1)
    goal, start = constants["goal"], state.arrays["ws"]
    found = descend(ENGINE, "g", state, constants, steps=25)
    np.testing.assert_allclose(found.best, goal + 0.9**25 * (start - goal), rtol=1e-4, atol=1e-5)
    assert found.finished
    assert found.steps == 25
    assert found.losses == sorted(found.losses, reverse=True)


def test_of_a_diverging_search_the_best_is_kept(rng: np.random.Generator) -> None:
    state, constants = begin(rng, 2.5)
    found = descend(ENGINE, "g", state, constants, steps=12, every=1)
    np.testing.assert_array_equal(found.best, state.arrays["ws"])
    assert found.losses[-1] > found.losses[0]


def test_records_come_every_few_steps(rng: np.random.Generator) -> None:
    state, constants = begin(rng, 0.1)
    records: list[Step] = []
    descend(ENGINE, "g", state, constants, steps=25, every=10, callback=records.append)
    assert [(r.step, r.steps) for r in records] == [(0, 25), (10, 25), (20, 25)]
    assert all(r.loss.shape == (2,) for r in records)


@pytest.mark.parametrize("broken_at", [1, 7, 10, 19])
def test_a_broken_run_goes_on_to_the_same_bits(
    rng: np.random.Generator, tmp_path: Path, broken_at: int
) -> None:
    state, constants = begin(rng, 0.13)
    whole = descend(ENGINE, "g", state, constants, steps=25, every=4)
    kept = tmp_path / "run.npz"
    descend(ENGINE, "g", state, constants, steps=broken_at, every=4, save=kept)
    resumed = RunState.load(kept)
    assert resumed.step == broken_at
    again = descend(ENGINE, "g", resumed, constants, steps=25, every=4)
    np.testing.assert_array_equal(again.best, whole.best)
    np.testing.assert_array_equal(again.loss, whole.loss)


def test_inputs_change_with_the_step_and_so_they_do_after_a_break(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    state, constants = begin(rng, 0.1)
    goal, start = constants["goal"], state.arrays["ws"]
    course = Course(lambda step: {"rate": np.float32(1 / (step + 2))})
    whole = descend(ENGINE, "g", state, constants, steps=9, course=course, every=2)
    # The product of 1 - 1 / (k + 2) over the first 9 steps is 1 / 10.
    np.testing.assert_allclose(whole.best, goal + (start - goal) / 10, rtol=1e-4, atol=1e-5)
    kept = tmp_path / "run.npz"
    descend(ENGINE, "g", state, constants, steps=5, course=course, every=2, save=kept)
    again = descend(ENGINE, "g", RunState.load(kept), constants, steps=9, course=course, every=2)
    np.testing.assert_array_equal(again.best, whole.best)


def test_before_it_is_settled_no_code_is_taken_for_the_best(rng: np.random.Generator) -> None:
    state, constants = begin(rng, 0.0)
    state.arrays["ws"][:] = constants["goal"] + 1  # 12 away, and stays there

    def inputs(step: int) -> dict[str, Any]:
        return {"disturbance": np.float32(-1 if step < 4 else 0)}  # a loss of zero, not its own

    course = Course(inputs, settled=4, shown=("picture",))
    found = descend(ENGINE, "g", state, constants, steps=6, course=course, every=1)
    np.testing.assert_allclose(found.losses, [0, 0, 0, 0, 12, 12, 12], atol=1e-4)
    np.testing.assert_allclose(found.loss, 12, rtol=1e-5)
    np.testing.assert_array_equal(found.shown["picture"], 2 * found.best)
    ended = descend(ENGINE, "g", state, constants, steps=6, course=course, every=1, until=1.0)
    assert ended.steps == 1
    np.testing.assert_allclose(ended.loss, 12, rtol=1e-5)  # the last look is undisturbed


def test_until_ends_when_the_loss_of_every_sample_is_there(rng: np.random.Generator) -> None:
    state, constants = begin(rng, 0.1)
    state.arrays["ws"][0] = constants["goal"][0]  # one sample is there from the beginning
    records: list[Step] = []
    found = descend(
        ENGINE, "g", state, constants, steps=500, every=5, until=0.01, callback=records.append
    )
    assert found.ended == "until"
    assert not found.finished
    assert [bool((r.loss <= 0.01).all()) for r in records] == [False] * (len(records) - 1) + [True]
    assert found.loss.max() <= 0.01
    assert found.steps == records[-1].step + 1


def test_time_ends_a_run_which_can_be_resumed(rng: np.random.Generator, tmp_path: Path) -> None:
    state, constants = begin(rng, 0.1)
    kept = tmp_path / "run.npz"
    found = descend(ENGINE, "g", state, constants, steps=40, seconds=1e-9, save=kept)
    assert (found.ended, found.steps) == ("seconds", 0)
    whole = descend(ENGINE, "g", state, constants, steps=40)
    again = descend(ENGINE, "g", RunState.load(kept), constants, steps=40)
    np.testing.assert_array_equal(again.best, whole.best)


def test_stop_ends_early_and_keeps_the_run(rng: np.random.Generator, tmp_path: Path) -> None:
    state, constants = begin(rng, 0.1)
    stop = threading.Event()
    found = descend(
        ENGINE, "g", state, constants, steps=100, every=5, stop=stop,
        callback=lambda step: stop.set() if step.step > 20 else None, save=tmp_path / "run.npz",
    )  # fmt: skip
    assert found.ended == "stop"
    assert found.steps == RunState.load(tmp_path / "run.npz").step == 26


def test_an_interrupt_keeps_the_run(rng: np.random.Generator, tmp_path: Path) -> None:
    state, constants = begin(rng, 0.1)

    def interrupt(step: Step) -> None:
        if step.step > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descend(
            ENGINE, "g", state, constants, steps=100, every=5, callback=interrupt,
            save=tmp_path / "run.npz",
        )  # fmt: skip
    assert RunState.load(tmp_path / "run.npz").step == 16


def test_a_run_of_something_else_is_not_resumed(rng: np.random.Generator, tmp_path: Path) -> None:
    state, _ = begin(rng, 0.1)
    state.save(tmp_path / "run.npz")
    with pytest.raises(InputError, match="another target: it, now other"):
        RunState.load(tmp_path / "run.npz").check({"target": "other"})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense"])
def test_a_damaged_run_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(CorruptFile, match="start anew"):
        RunState.load(tmp_path / "run.npz")


@pytest.mark.parametrize(("stride", "visits"), [(1, 25 * [1]), (4, [1, 4, 3]), (16, [1, 7])])
def test_several_steps_at_a_visit_end_where_single_steps_end(
    rng: np.random.Generator, stride: int, visits: list[int]
) -> None:
    state, constants = begin(rng, 0.1)
    course = Course(lambda step: {"rate": np.float32(1 / (step + 2))})
    records: list[list[int]] = []
    ends = []
    for device in (1, stride):
        engine = FakeEngine(device)
        seen: list[Step] = []
        ends.append(
            descend(
                cast(Engine, engine), "g", state, constants, steps=25, every=8, course=course,
                callback=seen.append,
            )
        )  # fmt: skip
        records.append([record.step for record in seen])
    taken = engine.loops[0].visits
    np.testing.assert_array_equal(ends[0].best, ends[1].best)
    np.testing.assert_array_equal(ends[0].loss, ends[1].loss)
    assert ends[0].losses == ends[1].losses
    assert records[0] == records[1] == [0, 8, 16, 24]
    assert sum(taken) == 26  # the last look is one step more
    assert taken[: len(visits)] == visits
