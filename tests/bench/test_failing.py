"""One contestant fails, at whatever: it alone has no figures, and everyone is told."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.bench.conftest import SHORT
from tests.bench.virtual import Virtual

from mien.bench import BenchReport, Plan, contest, measure, starts, verbs, works
from mien.bench.failing import left_out, said_once
from mien.bench.html import page
from mien.bench.report import LIVE, Failure, Refusal
from mien.bench.scenarios import NewCall, as_they_arrive, one_after_another, several_callers
from mien.cli.bench_table import show
from mien.cli.main import main
from mien.errors import (
    Cancelled,
    DeviceOutOfMemory,
    InputError,
    MienError,
    NotBuilt,
    ParityFailed,
    RunError,
    Untrusted,
)
from mien_engines.backends import get
from mien_engines.backends.base import Backend, Session
from mien_engines.backends.feeds import Array
from mien_engines.backends.ort import Ort
from mien_engines.errors import NotFinite
from mien_engines.spec import GraphSpec

NO_ROOM = DeviceOutOfMemory("the device has no 9 GB left", hint="Close other programs")
# Calls of the graph linear: 1 the first, 2 checked, 3 to 6 tried, from 7 on timed, 60 and a few
# rounds' first ones; then they are counted.
AT = {1: "first call", 2: "accuracy", 3: "warm-up", 6: "warm-up", 7: "timing", 40: "timing"}


class Faulty(Ort):
    """ONNX Runtime by another name, whose calls fail from a certain one on; 0 is at opening."""

    def __init__(self, name: str, call: int, error: Exception = NO_ROOM) -> None:
        self.name = name  # type: ignore[misc]
        self.call, self.error, self.closed = call, error, 0
        self.session: type[FaultySession] = FaultySession

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        if not self.call:
            raise self.error
        return self.session(spec, self, super().open_impl(path, spec, threads, cache))


class FaultySession(Session):
    def __init__(self, spec: GraphSpec, backend: Faulty, sound: Session) -> None:
        super().__init__(spec, backend)
        self.sound, self.faulty, self.calls = sound, backend, count(1)

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if next(self.calls) >= self.faulty.call:
            raise self.faulty.error
        return self.sound.run_impl(feeds)

    def close_impl(self) -> None:
        self.faulty.closed += 1
        self.sound.close()


Enter = Callable[..., dict[str, Any]]


@pytest.fixture
def enter(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Sends backends into a contest at the graph linear; returns the plan's arguments."""

    def entered(*backends: Backend) -> dict[str, Any]:
        named = {backend.name: backend for backend in backends}
        monkeypatch.setattr(works, "get", lambda name: named.get(name) or get(name))
        names = tuple(dict.fromkeys(["ort", *named]))
        return {"bundle": tiny, "graphs": ("linear",), "backends": names}

    return entered


def who(report: BenchReport) -> list[str]:
    return [case.who for case in report.cases]


@pytest.mark.parametrize(("call", "stage"), AT.items())
@pytest.mark.usefixtures("brief")
def test_who_fails_is_told_of_and_the_others_are_measured_and_compared(
    enter: Enter, call: int, stage: str
) -> None:
    found = measure(Plan(**enter(Faulty("ov", call), Faulty("trt", 10**9)), **SHORT))
    assert who(found) == ["ort", "trt"]
    (failure,) = found.failures
    assert failure == Failure(
        work="tiny/linear", who="ov", stage=stage, code="DeviceOutOfMemory",
        reason="the device has no 9 GB left", hint="Close other programs",
    )  # fmt: skip
    assert failure.line == "DeviceOutOfMemory: the device has no 9 GB left. Close other programs"
    assert [(c.case, c.against, c.paired) for c in found.comparisons] == [
        ("tiny/linear, trt", "ort", True)
    ]
    assert len({len(case.rounds_ms) for case in found.cases}) == 1
    assert all(case.summary.count == 60 for case in found.cases)
    assert found.failed
    assert not found.refusals
    assert not found.unmeasured
    assert not found.model_copy(update={"failures": ()}).failed


@pytest.mark.usefixtures("brief")
def test_what_a_runtime_raises_at_opening_is_a_failure_and_gives_way(enter: Enter) -> None:
    faulty = Faulty("ov", 0, RuntimeError("no kernel\nof MatMul"))
    found = measure(Plan(**enter(faulty), **SHORT))
    (failure,) = found.failures
    assert (failure.stage, failure.code) == ("opening", "BuildFailed")
    assert failure.reason == "backend ov refuses linear.onnx: no kernel of MatMul"
    assert who(found) == ["ort"]
    early = Faulty("ov", 2)
    measure(Plan(**enter(early), **SHORT))
    assert early.closed == 1


def test_who_fails_when_its_allocations_are_counted_has_no_figures(enter: Enter) -> None:
    class Traced(FaultySession):
        def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
            if tracemalloc.is_tracing():
                raise NO_ROOM
            return self.sound.run_impl(feeds)

    faulty = Faulty("ov", 1)
    faulty.session = Traced
    found = measure(Plan(**enter(faulty), **SHORT))
    assert [one.stage for one in found.failures] == ["allocations"]
    assert who(found) == ["ort"]
    assert not found.comparisons


@pytest.mark.usefixtures("brief")
def test_nan_in_a_first_call_is_a_failure(enter: Enter) -> None:
    class Nan(FaultySession):
        def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
            found = self.sound.run_impl(feeds)
            return {name: np.full_like(array, np.nan) for name, array in found.items()}

    faulty = Faulty("ov", 1)
    faulty.session = Nan
    found = measure(Plan(**enter(faulty), **SHORT))
    assert [one.code for one in found.failures] == [NotFinite.__name__]
    assert who(found) == ["ort"]


@pytest.mark.usefixtures("brief")
def test_where_the_first_fails_the_next_takes_its_place(enter: Enter) -> None:
    """In the middle of timing: the floor is then of the next one's even rounds and odd ones."""
    others = [Faulty(name, 10**9) for name in ("ov", "trt")]
    found = measure(Plan(**enter(Faulty("ort", 50), *others), **SHORT))
    assert [one.who for one in found.failures] == ["ort"]
    assert who(found) == ["ov", "trt"]
    assert [(c.case, c.against) for c in found.comparisons] == [("tiny/linear, trt", "ov")]
    rounds = [np.median(found.cases[0].rounds_ms[i::2]) for i in (0, 1)]
    floor = max(rounds) / min(rounds) - 1
    assert found.floors["tiny/linear"] == pytest.approx(floor, abs=1e-3)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("floor", "told"), [(0.2, False), (1.3, True)])
def test_figures_of_a_busy_machine_are_told_to_say_little(
    enter: Enter, monkeypatch: pytest.MonkeyPatch, floor: float, told: bool
) -> None:
    monkeypatch.setattr(contest, "noise_floor", lambda *_: floor)
    found = measure(Plan(**enter(Faulty("ov", 10**9)), **SHORT))
    said = [note for note in found.notes if "differs from itself by 130%" in note]
    assert bool(said) == told


@pytest.mark.usefixtures("brief")
def test_a_rival_that_fails_leaves_ours_compared(
    enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "torch"

        def load(self) -> Any:
            return lambda bundle, graph, *_: Faulty("torch", 30)

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    asked = enter(Faulty("ov", 10**9))
    found = measure(Plan(**asked, against=("torch",), **SHORT))
    assert [(one.who, one.stage) for one in found.failures] == [("torch", "timing")]
    assert [(c.case, c.against) for c in found.comparisons] == [("tiny/linear, ov", "ort")]
    assert found.failed


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("call", [0, 1, 6, 30])
def test_where_all_fail_the_work_fails_and_the_next_is_measured(enter: Enter, call: int) -> None:
    class OfLinear(Faulty):
        def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Any) -> Session:
            if spec.name == "linear":
                return super().open_impl(path, spec, threads, cache)
            return Ort.open_impl(self, path, spec, threads, cache)

    asked = enter(OfLinear("ort", call), OfLinear("ov", call)) | {"graphs": ("linear", "descent")}
    found = measure(Plan(**asked, **SHORT))
    assert {case.work for case in found.cases} == {"tiny/descent"}
    assert [one.who for one in found.failures] == ["ort", "ov"]
    assert found.refusals == (
        Refusal(work="tiny/linear", who="", reason="all who took part failed"),
    )
    assert found.unmeasured == {"tiny/linear"}
    assert found.failed
    assert "tiny/linear" not in found.floors


@pytest.mark.usefixtures("brief")
def test_the_baseline_names_who_failed_with_the_error(enter: Enter, tmp_path: Path) -> None:
    asked = enter(Faulty("ov", 10**9))
    path = measure(Plan(**asked, **SHORT)).save(tmp_path / "earlier.json")
    again = enter(Faulty("ov", 20))
    found = measure(Plan(**again, baseline=path, allowed=10, **SHORT))
    assert found.broken == (
        "tiny/linear, ov was measured in the baseline and is not now: it failed (timing): "
        "DeviceOutOfMemory: the device has no 9 GB left. Close other programs",
    )
    assert [c.case for c in found.baseline] == ["tiny/linear, ort"]


@pytest.fixture
def half(enter: Enter, brief: None) -> BenchReport:
    return measure(Plan(**enter(Faulty("ov", 20)), **SHORT))


def test_the_terminal_has_a_row_and_a_line_of_who_failed(half: BenchReport) -> None:
    console = Console(width=80, highlight=False)
    with console.capture() as caught:
        show(half, console)
    lines = caught.get().splitlines()
    assert any(line.split() == ["ov", "failed"] for line in lines)
    assert max(map(len, lines)) <= 80
    assert (
        "failed: tiny/linear, ov (timing): DeviceOutOfMemory: the device has no 9 GB left. "
        "Close other programs"
    ) in " ".join(" ".join(lines).split())


def test_the_page_has_a_row_and_a_section_of_who_failed(half: BenchReport) -> None:
    text = page(half)
    assert '<td>ov</td><td class="words bad">failed</td>' in text
    section = text[text.index("<h2>Failed</h2>") : text.index("<h2>How to read it</h2>")]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", section)
    assert cells == [
        "tiny/linear", "ov", "timing", "DeviceOutOfMemory", "the device has no 9 GB left",
        "Close other programs",
    ]  # fmt: skip
    for table in re.findall(r"<table>.*?</table>", text):
        assert len({len(re.findall("<t[hd]", row)) for row in table.split("</tr>")[:-1]}) == 1


def test_the_record_comes_back_and_the_status_is_1(
    enter: Enter, brief: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = enter(Faulty("ov", 20))
    options = [str(asked["bundle"]), "--graph", "linear", "--backend", "ort", "--backend", "ov"]
    options += ["--calls", "60", "--threads", "1", "--starts", "0", "--no-roofline", "--json"]
    path = tmp_path / "report.json"
    assert main(["bench", *options, "-o", str(path)]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["failures"] == [
        {
            "work": "tiny/linear", "who": "ov", "stage": "timing", "code": "DeviceOutOfMemory",
            "reason": "the device has no 9 GB left", "hint": "Close other programs",
        }
    ]  # fmt: skip
    assert BenchReport.load(path).model_dump(mode="json") == record
    del record["failures"]  # as reports were before there were any
    assert BenchReport.model_validate(record).failures == ()


def failing(clock: Virtual, after: int) -> NewCall:
    """Calls of a millisecond, of which so many go well."""
    made = count()

    def call() -> None:
        clock.time += 0.001
        if next(made) >= after:
            raise NO_ROOM

    return lambda: call


def run_of(scenario: str, contestants: dict[str, NewCall], clock: Virtual) -> Any:
    if scenario == "single":
        return one_after_another(contestants, rounds=6, calls=2, clock=clock)
    if scenario == "multi":
        return several_callers(contestants, streams=2, rounds=6, calls=2, clock=clock)
    return as_they_arrive(contestants, rate=100, rounds=6, calls=2, clock=clock)


@pytest.mark.parametrize("scenario", ["single", "multi", "server"])
@pytest.mark.parametrize("after", [0, 4, 10])
def test_those_that_stay_have_all_rounds_in_every_scenario(scenario: str, after: int) -> None:
    clock = Virtual()
    fine = clock.taking(lambda: 0.001)
    found = run_of(scenario, {"a": fine, "b": failing(clock, after), "c": fine}, clock)
    assert found["b"].error is NO_ROOM
    assert len(found["b"].rounds) < 6
    for name in "ac":
        assert found[name].error is None
        assert [len(times) for times in found[name].rounds] == [2] * 6


def test_those_that_stay_take_turns_and_who_begins_still_moves_on() -> None:
    clock, order = Virtual(), []

    def contestant(name: str) -> NewCall:
        def call() -> None:
            order.append(name)
            clock.time += 1
            if name == "b" and order.count("b") > 3:
                raise NO_ROOM

        return lambda: call

    one_after_another({name: contestant(name) for name in "abc"}, rounds=5, calls=1, clock=clock)
    # b fails in its second block; rounds 2 to 4 are of a and c alone.
    assert "".join(order) == "aabbccbbccaaaaccccaaaacc"


def test_who_cannot_even_begin_leaves_and_who_stops_it_stops_all() -> None:
    clock = Virtual()

    def broken() -> Any:
        raise RunError("no loop")

    found = one_after_another(
        {"a": broken, "b": clock.taking(lambda: 1)}, rounds=3, calls=2, clock=clock
    )
    assert str(found["a"].error) == "no loop"
    assert len(found["b"].rounds) == 3
    alone = one_after_another({"a": broken}, rounds=3, calls=2, clock=clock)
    assert alone["a"].rounds == []

    def stopped() -> Any:
        raise Cancelled("that is enough")

    with pytest.raises(Cancelled):
        one_after_another({"a": stopped}, rounds=3, calls=2, clock=clock)


@pytest.mark.parametrize(
    ("stage", "error", "kind"),
    [
        ("opening", NotBuilt("no plan"), Refusal),
        ("opening", ParityFailed("off"), Refusal),
        ("first call", InputError("no such expression"), Refusal),
        ("opening", Untrusted("anyone's"), Failure),
        ("opening", NO_ROOM, Failure),
        ("accuracy", ParityFailed("off"), Failure),
        ("timing", InputError("no face"), Failure),
    ],
)
def test_who_declines_at_the_door_has_not_failed(
    stage: Any, error: MienError, kind: type[Refusal | Failure]
) -> None:
    assert type(left_out("x", "trt", stage, error)) is kind


def test_a_work_in_which_nobody_takes_part_is_status_1(report: BenchReport) -> None:
    shut = Refusal(work="mix", who="trt", reason="no plan")
    assert not report.model_copy(update={"refusals": (*report.refusals,)}).failed
    found = report.model_copy(update={"refusals": (*report.refusals, shut)})
    assert found.unmeasured == {"mix"}
    assert found.failed


def test_what_several_say_alike_is_said_once_with_their_names() -> None:
    said = [
        Refusal(work="", who=name, reason="there is no CUDA device")
        for name in ("trt", "trt-fp16", "rtx")
    ]
    other = Refusal(work="mix", who="trt", reason="there is no CUDA device")
    failed = Refusal(work="mix", who="", reason="all who took part failed")
    assert said_once([said[0], other, *said[1:], failed]) == [
        ("", "trt, trt-fp16, rtx", "there is no CUDA device"),
        ("mix", "trt", "there is no CUDA device"),
        ("mix", "", "all who took part failed"),
    ]


def test_reasons_are_said_once_on_the_terminal_and_on_the_page(report: BenchReport) -> None:
    names = ("trt", "trt-fp16", "trt-bf16", "rtx", "rtx-fp16", "rtx-bf16")
    refused = tuple(Refusal(work="", who=name, reason="no CUDA device") for name in names)
    found = report.model_copy(update={"refusals": refused})
    console = Console(width=200, highlight=False)
    with console.capture() as caught:
        show(found, console)
    assert caught.get().count("no CUDA device") == page(found).count("no CUDA device") == 1
    assert f"not measured: {', '.join(names)}: no CUDA device" in caught.get()
    assert f'<td class="words">{", ".join(names)}</td>' in page(found)


def test_a_fresh_process_that_fails_is_a_failure_of_one_that_has_figures(
    enter: Enter, brief: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starts, "SCRIPT", "raise SystemExit('no such thing')")
    found = measure(Plan(**enter(Faulty("ov", 20)), starts=1, **SHORT))
    assert [(one.who, one.stage) for one in found.failures] == [
        ("ov", "timing"),
        ("ort", "fresh process"),
    ]
    assert who(found) == ["ort"]
    assert found.failed_at("tiny/linear") == ["ov"]
    assert found.unmeasured == set()


def test_a_live_run_that_fails_is_told_apart_from_one_that_does_not_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mien.bench import run

    class Studio:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> Studio:
            return self

        def __exit__(self, *exc: object) -> None:
            pass

    def studio_for(verb: str, bundle: Any, name: str, threads: Any) -> Studio:
        if name == "ov":
            raise ParityFailed("ov is off")
        return Studio(name)

    def live(studio: Studio, name: str, **how: Any) -> Any:
        raise NO_ROOM

    monkeypatch.setattr(run, "studio_for", studio_for)
    monkeypatch.setattr(run, "live", live)
    found = measure(Plan(verbs=(LIVE,), backends=("ort", "ov")))
    assert [(one.work, one.who, one.stage) for one in found.failures] == [(LIVE, "ort", "run")]
    assert found.refusals == (Refusal(work=LIVE, who="ov", reason="ov is off"),)
    assert found.empty


@pytest.mark.usefixtures("brief")
def test_a_verb_that_fails_with_one_backend_is_measured_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Studio:
        closed = 0

        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> Studio:
            return self

        def __exit__(self, *exc: object) -> None:
            type(self).closed += 1

    def prepare(studio: Studio, side: int) -> Any:
        made, limit = count(), {"ov": 12, "trt": 0}.get(studio.name, 10**9)

        def call() -> Any:
            if next(made) >= limit:
                raise NO_ROOM
            return np.arange(12, dtype=np.uint8)

        return call

    monkeypatch.setattr(verbs, "studio_for", lambda verb, bundle, name, threads: Studio(name))
    monkeypatch.setitem(verbs.VERBS, "mix", verbs.Verb((), prepare))  # type: ignore[arg-type]
    monkeypatch.setattr(works, "get", lambda name: get("ort"))
    found = measure(Plan(verbs=("mix",), backends=("ort", "ov", "trt"), **SHORT))
    assert who(found) == ["ort"]
    assert [(one.who, one.stage) for one in found.failures] == [
        ("trt", "first call"),
        ("ov", "timing"),
    ]
    assert Studio.closed == 3
