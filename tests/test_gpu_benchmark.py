"""The GPU benchmark runs from end to end, tiny and on the CPU; its figures are not looked at."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien_engines import Bundle
from mien_engines.backends.trt import RtxBf16, Trt, TrtSession
from mien_engines.errors import DeviceLost
from tests.engines.fake_gpu import BuildingTrt, FakeDevice, fake_host, fake_rtx_host

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "gpu"
SCRIPT = FOLDER / "run.py"
Import = Callable[[str], Any]


@pytest.fixture(scope="module")
def gpu() -> Iterator[Import]:
    """The benchmark's modules, by name; their folder is no package."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (FOLDER.parent, FOLDER):
            patch.syspath_prepend(folder)
        before = set(sys.modules)
        yield importlib.import_module
        for name in set(sys.modules) - before:
            if str(FOLDER.parent) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def dry_run(out: Path, *arguments: str, broken: str = "") -> dict[str, Any]:
    """broken: what it says of sections that did not run to their end; then its status is 1."""
    given = ["--dry", "--out", out, "--work", out.parent / "work", "--limit", "1800", *arguments]
    done = subprocess.run(
        [sys.executable, SCRIPT, *given], capture_output=True, text=True, timeout=3600, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (1 if broken else 0, broken)
    assert "it proves nothing" in (out / "results.md").read_text()
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_the_machine_is_named_and_what_is_late_is_recorded_and_merged(tmp_path: Path) -> None:
    found = dry_run(tmp_path / "one", "--only", "machine")
    assert found["machine"]["ended"] == "done", found
    first, *probes = found["machine"]["rows"]
    assert first["dry"] is True
    assert first["cpu"]
    assert first["versions"]["onnxruntime loaded"]
    assert {row["probe"]: row["alive"] for row in probes} == {"ort": True, "ov": True}
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["results.json", "results.md"]
    ended = "did not end within 0 s"
    late = dry_run(
        tmp_path / "two", "--only", "ceilings", "--limit", "0.01", broken=f"ceilings {ended}"
    )
    assert late["ceilings"]["ended"] == ended
    assert late["machine"] == found["machine"]  # the work folder has it
    short = dry_run(tmp_path / "three", "--only", "machine", "--only", "gatys", "--total", "1")
    assert short["machine"] == found["machine"]  # not begun, so nothing is replaced
    assert short["gatys"]["ended"] == "not begun: the time was up"


@pytest.mark.slow
def test_a_section_that_fails_stops_no_other(tmp_path: Path) -> None:
    broken = tmp_path / "work" / "generator-tiny"
    broken.mkdir(parents=True)
    (broken / "bundle.json").write_text("{}")
    ended = "ended with status 1"
    found = dry_run(
        tmp_path / "out", "--only", "synthesis", "--only", "machine", broken=f"synthesis {ended}"
    )
    assert found["synthesis"]["ended"] == ended
    assert "CorruptFile" in found["synthesis"]["rows"][-1]["failed"]
    assert found["machine"]["ended"] == "done"


@pytest.mark.slow
def test_every_graph_is_checked_on_every_backend(tmp_path: Path) -> None:
    rows = dry_run(tmp_path / "out", "--only", "check")["check"]["rows"]
    assert {row["backend"] for row in rows} == {"ort", "ov"}
    assert {row["state"] for row in rows} == {"accepted"}


def test_the_reference_of_a_graph_is_opened_once_and_closed(
    gpu: Import, product: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien_engines import backends

    sections, opened = gpu("sections"), []

    class Reference:
        def open(self, *arguments: Any) -> Any:
            opened.append(backends.get("ort").open(*arguments))
            return opened[-1]

    fake = SimpleNamespace(
        REFERENCE="reference", get=lambda n: Reference() if n == "reference" else backends.get(n)
    )
    monkeypatch.setattr(sections, "backends", fake)
    monkeypatch.setattr(sections, "BUILT_IN", tmp_path)
    run = sections.Run(tmp_path, True, "check")
    run.clear()
    rows = list(sections._checked_bundle(run, "product", ["ort", "ov"]))
    assert [(row["backend"], row["state"]) for row in rows] == [
        ("ort", "accepted"), ("ov", "accepted"),
    ]  # fmt: skip
    assert [session._closed for session in opened] == [True]


@pytest.mark.slow
def test_every_section_runs_and_says_who_was_timed(tmp_path: Path) -> None:
    # The others of torch.compile's differ by their network alone.
    found = dry_run(
        tmp_path / "out", "--skip", "gatys compiled", "--skip", "transfer compiled",
        "--skip", "check", "--skip", "projection compiled",
    )  # fmt: skip
    contests = ["synthesis", "projection", "gatys", "transfer", "kernels"]
    late = [f"{name} compiled" for name in ("synthesis", "kernels")]
    assert list(found) == ["machine", "ceilings", *contests, *late]
    assert {name: section["ended"] for name, section in found.items()} == dict.fromkeys(
        found, "done"
    )
    both = {"copies", "resident"}
    steps = {"1 step", "16 steps"}
    frames = {"ort": both, "ov": {"copies"}, "torch": both}
    for name, hows in {
        "transfer": frames, "synthesis": frames,
        "projection": dict.fromkeys(frames, steps), "gatys": dict.fromkeys(frames, steps),
    }.items():  # fmt: skip
        for section, torch in ((name, "torch eager"), (f"{name} compiled", "torch compile")):
            if section not in found:
                continue
            rows = found[section]["rows"]
            assert not [row for row in rows if "failed" in row], section
            timed = {(row["who"].replace(torch, "torch"), row["how"]) for row in rows}
            assert timed == {(who, how) for who, all_of in hows.items() for how in all_of}
            assert {row["state"] for row in rows} == {"accepted"}
            assert all(0 < row["min_ms"] <= row["p50_ms"] <= row["p95_ms"] for row in rows)
            assert all("graph_breaks" in row for row in rows if row["who"] == "torch compile")
    assert "reached" not in {row["state"] for row in json_goals(found)}


def json_goals(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return list(importlib.import_module("goals").goals(found))


# What is kept, and in what order


def test_rows_of_the_same_thing_are_made_one_and_a_cut_line_is_dropped(
    gpu: Import, tmp_path: Path
) -> None:
    rows = [{"who": "a", "how": "x", "state": "accepted"}, {"who": "b", "failed": "no"},
            {"who": "a", "how": "x", "p50_ms": 2}]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"who": "c", "ho')
    assert gpu("report").read_rows(path) == [
        {"who": "a", "how": "x", "state": "accepted", "p50_ms": 2},
        {"who": "b", "failed": "no"},
    ]


def test_results_are_written_whole_and_hold_no_nan(gpu: Import, tmp_path: Path) -> None:
    rows = [{"error": float("inf"), "text": "a|b"}]
    results = {"check": {"ended": "done", "seconds": 1.0, "rows": rows}}
    gpu("report").write(results, tmp_path, dry=False)
    kept = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert kept["check"]["rows"] == [{"error": "inf", "text": "a|b"}]
    assert "| inf | a/b |" in (tmp_path / "results.md").read_text()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_later_try_that_failed_does_not_replace_what_was_timed(gpu: Import) -> None:
    report = gpu("report")

    def ended(how: str, *rows: dict[str, Any]) -> dict[str, Any]:
        return {"ended": how, "seconds": 1.0, "at": "noon", "rows": list(rows)}

    def after(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = report.merged({"gatys": old}, {"gatys": new}, ["gatys"])["gatys"]
        return found

    two = [{"who": "trt", "p50_ms": 2.0}, {"who": "rtx", "p50_ms": 3.0}]
    compared = [{"who": who, "state": "accepted"} for who in ("trt", "rtx", "ort")]
    good, died = ended("done", *two), ended("died of SIGKILL", *compared, {"failed": "Killed"})
    kept = after(good, died)
    assert kept == {**good, "later": "a later try found less, died of SIGKILL, at noon"}
    assert "; a later try found less, died" in report.table({"gatys": kept}, dry=False)
    # Nobody was begun: it ran to its end all the same.
    late = ended("done", {"who": "trt", "failed": "not tried: the time was up"})
    assert after(good, late)["rows"] == two
    assert after(kept, ended("not begun: the time was up")) == kept
    for new in (
        ended("done", {"who": "trt", "p50_ms": 1.0}),  # whole, though fewer took part
        ended("died of SIGKILL", *two, {"failed": "Killed"}),  # died, and has as much
    ):
        assert after(good, new) == after(kept, new) == new
    assert after(died, good) == good
    # A check is timed nowhere: what did not fail counts.
    checks = [{"graph": "a", "state": "accepted"}, {"graph": "b", "state": "refused, 0.1"}]
    less = ended("died of SIGKILL", checks[0], {"graph": "b", "state": "failed"})
    assert after(ended("done", *checks), less)["rows"] == checks


def test_who_kills_a_section_is_left_out_of_its_next_try(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sections = gpu("run"), gpu("sections")
    work = sections.Run(tmp_path, True, "gatys")
    tries: list[str] = []

    def once(given: Any, limit_s: float) -> str:
        tries.append(given.dropped("rtx"))
        with given.rows.open("a") as file:
            print(json.dumps({"who": "ort", "try": len(tries)}), file=file)
        given.log.write_text("terminate called")
        if not tries[-1]:
            given._file("now").write_text("rtx")  # as a process that dies leaves it
            return "died of SIGABRT"
        return "done"

    monkeypatch.setattr(run, "once", once)
    found = run.apart(work, 100, float("inf"))
    assert tries == ["", "died of SIGABRT: terminate called"]
    assert found["ended"] == "done"
    assert found["rows"] == [{"who": "ort", "try": 2}]
    late = run.apart(work, 100, time.monotonic() + 1)
    assert (late["ended"], late["rows"], len(tries)) == (run.NOT_BEGUN, [], 2)


def test_tries_of_a_section_share_its_time(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, work = gpu("run"), gpu("sections").Run(tmp_path, True, "gatys")
    clock, given = [1000.0], []

    def once(work: Any, limit_s: float) -> str:
        given.append(limit_s)
        clock[0] += 40
        work._file("now").write_text(f"backend {len(given)}")
        work.log.write_text("terminate called")
        return "died of SIGABRT"

    monkeypatch.setattr(run, "once", once)
    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])
    found = run.apart(work, 90.0, 2000.0)
    assert given == [90.0, 50.0]  # 10 s more would be too few
    assert found["rows"] == [{"who": "backend 2", "failed": "died of SIGABRT: terminate called"}]
    assert run.apart(work, 90.0, clock[0] + 30.0)["ended"] == "died of SIGABRT"
    assert given[2:] == [30.0]  # all of them end sooner


def test_a_section_builds_into_the_work_folder(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "own"))
    run, work = gpu("run"), gpu("sections").Run(tmp_path / "work", True, "check")
    work.clear()
    said = "import os; print(os.environ['MIEN_CACHE_DIR'])"
    started(monkeypatch, [sys.executable, "-c", said])
    assert run.once(work, 60.0) == "done"
    assert work.log.read_text().strip() == str((tmp_path / "work").resolve() / "cache")


class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
    """A process whose waiter is interrupted, as Ctrl-C does it."""

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return super().wait()


def test_who_is_interrupted_leaves_no_process_behind(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, work = gpu("run"), gpu("sections").Run(tmp_path, True, "check")
    work.clear()
    processes = started(monkeypatch, ["sleep", "60"], Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.once(work, 50.0)
    assert processes[0].returncode == -signal.SIGKILL


def test_who_is_terminated_ends_as_if_interrupted(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gpu("run")
    monkeypatch.setattr(sys, "argv", ["run.py", "--dry", "--only", "machine", "--out",
                                      str(tmp_path / "out"), "--work", str(tmp_path)])  # fmt: skip
    monkeypatch.setattr(run, "apart", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("it goes on"))
    try:
        with pytest.raises(SystemExit) as ended:
            run.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 128 + signal.SIGTERM


def started(
    monkeypatch: pytest.MonkeyPatch, program: list[str], kind: type = subprocess.Popen
) -> list[Any]:
    """Sections run this program instead. Its processes, once they are started."""
    processes: list[Any] = []

    def popen(command: object, **how: Any) -> Any:
        processes.append(kind(program, **how))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return processes


def test_the_one_at_work_is_known_only_where_he_did_not_come_back(
    gpu: Import, tmp_path: Path
) -> None:
    run = gpu("sections").Run(tmp_path, True, "check")
    run.clear()
    with run.about("ov"):
        assert run.at_work() == "ov"
    assert run.at_work() == ""
    with pytest.raises(KeyboardInterrupt), run.about("ov"):
        raise KeyboardInterrupt
    assert run.at_work() == "ov"


# Who takes part


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", "it died of SIGABRT"),
        ("import time; time.sleep(60)", "it did not answer within"),
        ("raise SystemExit('this GPU is not supported')", "this GPU is not supported"),
        ("pass", "it gave no answer: it said nothing"),
        ("print('3'); print('bye'); exit()", "it gave no answer"),
        ("print('{\"alive\": tr')", "it gave no answer"),
    ],
)
def test_a_library_that_dies_hangs_or_refuses_is_dropped_with_its_reason(
    gpu: Import, tmp_path: Path, code: str, words: str
) -> None:
    limit_s = 0.5 if "sleep" in code else 60.0
    found = gpu("probe").probe("rtx", program=[sys.executable, "-c", code], limit_s=limit_s)
    assert found["alive"] is False
    assert words in found["detail"]
    run = gpu("sections").Run(tmp_path, False, "gatys")
    run.probed.write_text(json.dumps({"rtx": found, "trt": {"alive": True, "detail": ""}}))
    assert run.dropped("rtx-fp16") == found["detail"]
    assert run.dropped("trt-fp16") == run.dropped("ort-cuda") == ""


def test_what_a_library_prints_as_it_ends_is_not_taken_for_the_answer(gpu: Import) -> None:
    answer = """print('{"alive": true, "detail": ""}')"""
    code = f"import atexit; atexit.register(print, 'bye'); {answer}"
    found = gpu("probe").probe("rtx", program=[sys.executable, "-c", code])
    assert found == {"probe": "rtx", "alive": True, "detail": ""}


@pytest.fixture
def product(gpu: Import, tmp_path: Path) -> tuple[Bundle, dict[str, Any], Any]:
    (tmp_path / "product").mkdir()
    found: tuple[Bundle, dict[str, Any], Any] = gpu("probe").product(tmp_path / "product")
    return found


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "plans"


def test_a_plan_that_the_gate_refuses_is_opened_for_timing_and_says_so(
    gpu: Import, product: Any, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, feeds, expected = product
    backend = Trt(fake_host(FakeDevice()))
    session, known = gpu("opening").opened(bundle, "product", backend, plans)
    np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-4, atol=1e-4)
    assert "state" not in known
    gate = bundle.graph("product").gate.model_copy(update={"tolerance": {"bf16": 1.0}})
    graphs = {"product": bundle.graph("product").model_copy(update={"gate": gate})}
    strict = dataclasses.replace(bundle, spec=bundle.spec.model_copy(update={"graphs": graphs}))
    monkeypatch.setenv("MIEN_CACHE_DIR", str(plans.parent / "another"))  # without that plan
    session, known = gpu("opening").opened(strict, "product", backend, plans)
    assert known["state"].startswith("refused, error inf: the bundle admits no f32")
    np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-4, atol=1e-4)
    (kept,) = plans.rglob("*.*")
    monkeypatch.setattr(gpu("opening"), "build_plan", lambda *_, **__: pytest.fail("it is there"))
    assert gpu("opening")._refused(strict, "product", backend, plans).run(feeds)
    # Of another GPU it is another plan.
    monkeypatch.undo()
    monkeypatch.setenv("MIEN_CACHE_DIR", str(plans.parent / "another"))
    gpu("opening")._refused(strict, "product", Trt(fake_host(FakeDevice("Other GPU"))), plans)
    both = list(plans.rglob("*.*"))
    assert len(both) == 2
    assert {path.parent for path in both} == {kept.parent}


def test_a_refused_plan_is_timed_in_the_form_that_was_refused(
    gpu: Import, product: Any, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _, _ = product
    opening, asked = gpu("opening"), []

    def form_of(bundle: Bundle, graph: str, precision: str, *how: Any) -> Path:
        asked.append((precision, *how[:2]))
        return bundle.graph_path(graph)

    monkeypatch.setattr(opening, "form_of", form_of)
    opening._refused(bundle, "product", RtxBf16(fake_rtx_host()), plans)
    assert asked == [("bf16", (), ("ConvTranspose",))]


def test_a_replayed_frame_copies_and_allocates_nothing(gpu: Import, product: Any) -> None:
    bundle, feeds, _ = product
    device = FakeDevice()
    session = BuildingTrt(fake_host(device), 8).open(
        bundle.graph_path("product"), bundle.graph("product")
    )
    assert isinstance(session, TrtSession)
    frame = gpu("contest").replay(session, feeds)
    before = len(device.log)
    for _ in range(3):
        frame()
    assert {what for what, _ in device.log[before:]} <= {"launch", "execute", "synchronize"}
    assert [what for what, _ in device.log[before:]].count("launch") == 3


def test_a_plan_that_cannot_be_captured_has_no_replay(gpu: Import, product: Any) -> None:
    bundle, feeds, _ = product
    session: Any = BuildingTrt(fake_host(FakeDevice()), 8).open(
        bundle.graph_path("product"), bundle.graph("product")
    )
    session._engine.capturable = False
    assert gpu("contest").replay(session, feeds) is None
    assert "without a CUDA graph" in session.remarks()[0]


def test_contestants_are_compared_before_they_are_timed(
    gpu: Import, product: Any, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch")
    bundle, feeds, _ = product
    contest = gpu("contest")
    weight = np.asarray(next(iter(_initialisers(bundle.graph_path("product")))))

    class Net(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x @ torch.tensor(weight) + 1  # wrong by one

    subject = SimpleNamespace(
        what="a product", bundle=bundle, graph="product", feeds=feeds, state={},
        module=Net, counted=lambda: None,
    )  # fmt: skip
    run = SimpleNamespace(
        backends=("trt", "rtx", "ort", "ov"), dry=True, device="cpu", work=plans,
        repeats=2, seconds=1,
        dropped=lambda who: "it died" if who == "rtx" else "", about=contextlib.nullcontext,
        left=lambda: lefts.pop(0),
    )  # fmt: skip
    from mien_engines import backends

    fake = SimpleNamespace(
        REFERENCE="ort",
        get=lambda n: Trt(fake_host(FakeDevice())) if n == "trt" else backends.get(n),
    )
    monkeypatch.setattr(contest, "backends", fake)
    lefts = [500.0, 500.0, 500.0, 20.0]  # torch, trt, ort, ov
    rows = list(contest.contest(run, subject, compiled=False))
    assert not lefts
    untimed = [row for row in rows if "p50_ms" not in row]
    assert rows[: len(untimed)] == untimed
    found = gpu("report").settled(rows)
    assert [(r["who"], r.get("how")) for r in found] == [
        ("torch eager", "copies"),
        ("torch eager", "resident"),
        ("trt", "copies"), ("trt", "run_resident"), ("trt", "resident"), ("rtx", None),
        ("ort", "copies"), ("ort", "resident"), ("ov", None),
    ]  # fmt: skip
    failed = {row["who"]: row["failed"] for row in found if "failed" in row}
    assert failed == {"rtx": "it died", "ov": "not tried: the time was up"}
    states = {row["who"]: row["state"] for row in found if "state" in row}
    assert states["trt"] == states["ort"] == "accepted"
    assert states["torch eager"].startswith("refused, error 0.0")
    assert all(row["p50_ms"] > 0 and row["p99_ms"] is None for row in found if "how" in row)


def _initialisers(path: Path) -> list[Any]:
    onnx: Any = pytest.importorskip("onnx")
    return [onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]


@pytest.mark.parametrize(
    "message",
    ["CUDA error: an illegal memory access was encountered", "Uncorrectable ECC error",
     "The GPU failed before: a hardware stack error", "cuInit: GPU has fallen off the bus"],
)  # fmt: skip
def test_a_lost_gpu_is_told_by_its_words(gpu: Import, message: str) -> None:
    with pytest.raises(DeviceLost, match=message):
        gpu("opening").raise_if_lost(message)
    gpu("opening").raise_if_lost("out of memory")


# Kernels


class FakeBench:
    """Checks and times as it is told, by the kernel's name."""

    def __init__(self, faults: Mapping[str, Exception]) -> None:
        self.faults = faults

    def check(self, case: Any) -> float:
        if case.kernel in self.faults:
            raise self.faults[case.kernel]
        return 1e-6

    def times(self, case: Any, against: Any) -> dict[str, list[float]]:
        return {"mien": [1e-6], "copy": [1e-6], **{name: [3e-6] for name in against}}


def test_a_wrong_kernel_is_a_row_and_the_others_are_timed(gpu: Import) -> None:
    faults = {"mix": AssertionError("off by\n 0.1"), "crop": RuntimeError("no image")}
    rows = list(gpu("kernels").run((1,), ("float16",), make=lambda n: FakeBench(faults)))
    wrong = {row["kernel"]: row["failed"] for row in rows if "failed" in row}
    assert wrong == {"mix": "off by 0.1", "crop": "no image"}
    assert {row["times_eager"] for row in rows if "failed" not in row} == {3.0}
    assert {"adain", "adain up", "adain noise", "adam"} <= {r["kernel"] for r in rows if "us" in r}
    lines = [gpu("kernels").line_of({"times_compiled": None, **row}) for row in rows]
    assert sum("failed: off by 0.1" in line for line in lines) == 1


def test_a_kernel_that_loses_the_gpu_ends_the_process_and_is_left_out_then(gpu: Import) -> None:
    lost = {"mix": RuntimeError("CUDA error: an illegal memory access was encountered")}
    names: list[str] = []

    @contextlib.contextmanager
    def about(name: str) -> Iterator[None]:
        names.append(name)
        yield

    kernels = gpu("kernels")
    with pytest.raises(DeviceLost):
        list(kernels.run((1,), ("float16",), make=lambda n: FakeBench(lost), about=about))
    assert names[-1].startswith("mix ")
    rows = list(kernels.run(
        (1,), ("float16",), make=lambda n: FakeBench(lost),
        dropped=lambda name: "it died" if name == names[-1] else "",
    ))  # fmt: skip
    assert [r["failed"] for r in rows if "failed" in r] == ["it died"]


# Times


def test_few_samples_have_no_99th_percentile(gpu: Import) -> None:
    times = gpu("timing").Times
    assert times.of([0.001] * 199).p99_ms is None
    assert times.of([0.001 * i for i in range(1, 201)]).p99_ms == 199
    assert times.of([0.016, 0.032, 0.048], per=16).p50_ms == pytest.approx(2)


def test_calls_take_turns_and_there_is_a_result_before_the_end(gpu: Import) -> None:
    order: list[str] = []
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    timing = gpu("timing")
    results = [(which, len(found)) for which, found in timing.take_turns(calls, 5, 100)]
    assert results == [(0, 1), (1, 1), (1, 2), (0, 2), (1, 4), (0, 4), (0, 5), (1, 5)]
    assert order[6:10] == ["a", "b", "b", "a"]


def test_slow_calls_are_timed_though_the_seconds_are_over(gpu: Import) -> None:
    timing, slept = gpu("timing"), []

    def slow() -> None:
        slept.append(1)
        time.sleep(0.06)

    results = [(which, len(found)) for which, found in timing.take_turns([slow, slow], 40, 0.05)]
    # A turn to warm up, a turn that counts, and no more.
    assert results == [(0, 1), (1, 1), (0, 1), (1, 1)]
    assert len(slept) == 4


def test_a_call_that_fails_has_no_more_turns_and_keeps_its_times(gpu: Import) -> None:
    turns, about = iter(range(100)), []

    def fails_late() -> None:
        if next(turns) == 3 + 2:  # after warming up and two turns
            raise RuntimeError("no more")

    @contextlib.contextmanager
    def around(which: int) -> Iterator[None]:
        about.append(which)
        with contextlib.suppress(RuntimeError):
            yield

    calls = [fails_late, lambda: None]
    found = list(gpu("timing").take_turns(calls, 8, 100, around))
    numbers = [(which, len(times)) for which, times in found]
    assert [n for which, n in numbers if which == 0] == [2, 2, 2]  # lists grow meanwhile
    assert numbers[-1] == (1, 8)
    assert (about.count(0), about.count(1)) == (6, 11)
    turns = iter(range(100))
    with pytest.raises(RuntimeError, match="no more"):
        list(gpu("timing").take_turns([fails_late], 8, 100))


def test_who_fails_while_he_is_timed_is_a_row_and_the_others_go_on(
    gpu: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    contest, about = gpu("contest"), []
    calls = dict.fromkeys(("good", "bad", "lost"), 0)

    def entrant(who: str, error: Exception | None) -> Any:
        def call() -> None:
            calls[who] += 1
            if error is not None and calls[who] == 7:  # compared, warmed up, and timed twice
                raise error

        return contest.Entrant(who, "resident", call, 1, {"state": "accepted"})

    entrants = {"good": entrant("good", None), "bad": entrant("bad", RuntimeError("out\nof it"))}

    @contextlib.contextmanager
    def at_work(who: str) -> Iterator[None]:
        about.append(who)
        yield

    run = SimpleNamespace(repeats=8, seconds=60, dropped=lambda who: "", about=at_work,
                          left=lambda: 500.0)  # fmt: skip
    subject = SimpleNamespace(what="a product", counted=lambda: None)
    monkeypatch.setattr(contest, "Truth", lambda subject: None)
    monkeypatch.setattr(
        contest, "_candidates",
        lambda *_: [(who, "f32", lambda e=e: [e]) for who, e in entrants.items()],
    )  # fmt: skip
    good, bad = gpu("report").settled(contest.contest(run, subject, compiled=False))
    assert (good["who"], good["state"], good["n"]) == ("good", "accepted", 8)
    assert (bad["who"], bad["state"], bad["n"]) == ("bad", "failed", 2)
    assert bad["failed"] == "out of it"
    assert calls["good"] == 1 + 3 + 8
    assert about.count("good") == 1 + 3 + 8
    # Where the GPU is lost nobody goes on in this process.
    entrants["lost"] = entrant("lost", DeviceLost("the GPU failed: an illegal memory access"))
    calls = dict.fromkeys(calls, 0)
    with pytest.raises(DeviceLost):
        list(contest.contest(run, subject, compiled=False))
    assert about[-1] == "lost"


# Goals


def section(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"ended": "done", "seconds": 1.0, "rows": list(rows)}


def timed(who: str, how: str, p50_ms: float, state: str = "accepted") -> dict[str, Any]:
    return {"who": who, "how": how, "p50_ms": p50_ms, "state": state}


def by_name(gpu: Import, results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["goal"]: row for row in gpu("goals").goals(results)}


def test_what_was_not_measured_reaches_no_goal(gpu: Import) -> None:
    found = by_name(gpu, {})
    assert len(found) == 13
    assert {row["state"] for row in found.values()} == {"unmeasured"}
    dry = {"machine": section({"dry": True}), "gatys": section(timed("rtx", "1 step", 1e-3))}
    assert {row["state"] for row in by_name(gpu, dry).values()} == {"unmeasured"}


def test_the_fastest_accepted_row_on_the_device_counts(gpu: Import) -> None:
    frame, eager = (
        "StyleGAN2 1024 px, batch 1, a frame on the device",
        "synthesis beside torch eager",
    )
    rows = [
        timed("trt", "copies", 0.1), timed("ort-cuda", "resident", 0.2),
        timed("trt-fp16", "resident", 0.3, "refused, error 0.5"), timed("trt", "resident", 0.9),
        timed("torch eager", "resident", 4.5), timed("torch eager fp16", "resident", 2.6),
        timed("torch eager", "copies", 1.0),
    ]  # fmt: skip
    found = by_name(gpu, {"synthesis": section(*rows)})
    assert found[frame]["state"] == "reached"
    assert (found[frame]["found"], found[frame]["by"]) == ("0.9 ms", "trt, resident")
    assert found[eager]["state"] == "not reached"  # 2.6 / 0.9, the faster torch
    assert found[eager]["found"] == "2.89 times"
    assert found["synthesis beside torch compile"]["state"] == "unmeasured"
    refused = by_name(gpu, {"synthesis": section(*rows[:3])})[frame]
    assert refused["state"] == "not reached"
    assert "refused, error 0.5" in refused["by"]


def test_steps_and_iterations_are_counted_out(gpu: Import) -> None:
    results = {
        "projection": section(timed("rtx-bf16", "16 steps", 2.0)),
        "gatys": section(timed("rtx-bf16", "16 steps", 1.81), timed("rtx", "1 step", 1.9)),
        "gatys compiled": section(
            timed("rtx-bf16", "16 steps", 2.0), timed("torch compile", "16 steps", 2.7)
        ),
    }
    found = by_name(gpu, results)
    assert found["projection step, 1024 px"]["found"] == "500 steps/s"
    assert found["projection step, 1024 px"]["state"] == "reached"
    assert found["Gatys 512 px, 500 iterations"]["state"] == "not reached"
    assert found["gatys beside torch compile"]["found"] == "1.35 times"
    assert found["gatys beside torch compile"]["state"] == "reached"


def test_the_worst_case_of_adain_counts_and_a_wrong_one_is_not_reached(gpu: Import) -> None:
    def case(moved_mb: float, **found: Any) -> dict[str, Any]:
        return {"kernel": "adain", "dtype": "float16", "moved_mb": moved_mb, **found}

    rows = [
        case(64, of_copy=0.9, us=30.0, times_eager=4.0),
        case(256, of_copy=0.86, us=120.0, times_eager=3.5),
        case(1, of_copy=0.5, us=3.9, times_eager=9.0),
        {**case(64, of_copy=0.1, us=900.0, times_eager=0.1), "dtype": "float32"},
    ]
    found = by_name(gpu, {"kernels": section(*rows)})
    assert found["AdaIN, 64 MB or more"]["state"] == "reached"
    assert found["AdaIN, 64 MB or more"]["found"] == "86%"
    assert found["AdaIN, 1 MB or less, replayed"]["state"] == "reached"
    assert found["AdaIN beside torch eager"]["found"] == "3.5 times"
    wrong = by_name(gpu, {"kernels": section(*rows, case(128, failed="off by 0.1"))})
    assert wrong["AdaIN, 64 MB or more"]["state"] == "not reached"
    assert wrong["AdaIN, 64 MB or more"]["by"] == "the worst of 2 cases; 1 failed"
    assert wrong["AdaIN, 1 MB or less, replayed"]["state"] == "reached"


def test_the_floor_is_the_longer_of_operations_and_bytes(gpu: Import) -> None:
    row = {**timed("trt-fp16", "resident", 1.0), "precision": "fp16", "gflop": 150, "gb": 0.9}
    results = {
        "ceilings": section(
            {"ceiling": "copy", "mb": 268.4, "gb_per_s": 4000.0},
            {"ceiling": "product float16", "tflop_per_s": 750.0},
        ),
        "synthesis": section(row, {**row, "who": "trt", "gflop": 300}, timed("x", "copies", 1)),
    }
    first, second = gpu("goals").rooflines(results)
    assert first["floor_ms"] == pytest.approx(0.225)  # 0.9 GB at 4 TB/s
    assert second["floor_ms"] == pytest.approx(0.4)  # 300 GFLOP at 750 TFLOP/s
    assert (first["reached"], second["reached"]) == ("22%", "40%")
    assert gpu("goals").rooflines({"synthesis": results["synthesis"]}) == []


# What travels


def test_drawn_weights_are_left_at_home_and_drawn_again_bit_for_bit(
    gpu: Import, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    hollow = gpu("hollow")
    drawn = hollow.Drawn()
    plain = drawn("a", (4, 3, 3, 3), 0.5)
    linear = drawn("b", (300, 5), 1.0, [0.01])
    tensors = {
        "kernel": plain, "linear": linear.T * np.float32(0.01),
        "own": np.arange(7, dtype=np.float32), "half": np.ones(3, np.float16),
    }  # fmt: skip
    home = tmp_path / "home"
    home.mkdir()
    save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, home / hollow.WEIGHTS)
    (home / "bundle.json").write_text("{}")
    hollow.hollow(home, tmp_path / "carried", drawn)
    carried = {p.name: p.stat().st_size for p in (tmp_path / "carried").iterdir()}
    assert carried[hollow.REST] == 7 * 4 + 3 * 2
    assert hollow.WEIGHTS not in carried
    hollow.filled(tmp_path / "carried", tmp_path / "away")
    assert sorted(p.name for p in (tmp_path / "away").iterdir()) == sorted(
        p.name for p in home.iterdir()
    )
    for file in home.iterdir():
        assert (tmp_path / "away" / file.name).read_bytes() == file.read_bytes()


def test_drawn_weights_have_the_deviation_that_was_asked_for(gpu: Import) -> None:
    values = gpu("hollow").values("a", (1000, 100), 0.5)
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(0.5, rel=0.01)
    assert abs(values.mean()) < 0.01
    assert not np.array_equal(values, gpu("hollow").values("b", (1000, 100), 0.5))


@pytest.mark.slow
def test_what_was_prepared_opens_elsewhere_and_is_the_same_network(
    gpu: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects, contest = gpu("subjects"), gpu("contest")
    subjects.prepare(tmp_path / "work", tmp_path / "prepared", tiny=True)
    assert set(json.loads((tmp_path / "prepared" / "counts.json").read_text())) == {
        "adain/transfer", "vgg19-tiny/gatys_step", "generator-tiny/render",
        "generator-tiny/project_step",
    }  # fmt: skip
    monkeypatch.setattr(subjects, "PREPARED", tmp_path / "prepared")
    monkeypatch.setattr(subjects, "_write", lambda *_: pytest.fail("it is carried"))
    subject = subjects.generator(tmp_path / "away", "render", tiny=True)
    assert subject.counted().flops > 1e5
    rival = gpu("rivals").Rival(subject, "cpu", half=False, compiled=False)
    assert contest.Truth(subject).verdict(rival.with_copies(), "f32")["state"] == "accepted"


@pytest.mark.slow
def test_nothing_of_the_networks_is_of_torchs_own_drawing(gpu: Import) -> None:
    torch: Any = pytest.importorskip("torch")
    subjects = gpu("subjects")
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        graphs, _ = subjects._generator(gpu("hollow").Drawn(), True)
        step = next(graph.module for graph in graphs if graph.name == "project_step")
        found.append(dict(step.named_parameters()))
    one, two = found
    assert len(one) > 20
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this is no checkout of the repository")
    return done.stdout.splitlines()


def test_what_travels_is_small_and_holds_what_is_imported(gpu: Import) -> None:
    pack = gpu("pack")
    code, zoo = pack.code_files(tracked()), pack.zoo_files(tracked())
    sizes = [sum((ROOT / name).stat().st_size for name in names) for names in (code, zoo)]
    assert sizes[0] < 12 << 20  # without the graphs
    assert sizes[1] < 40 << 20
    assert {"benchmarks/gpu/run.py", "export/zoo/adain/adain.safetensors",
            "sdk/mien/zoo/adain/bundle.json", "cpp_ext/kernels/adam.cu"} <= set(code)  # fmt: skip
    assert not [name for name in code if name.startswith(("tests/", "docs/"))]
    assert [name for name in code if name.startswith("export/zoo/")] == [
        "export/zoo/adain/adain.safetensors"
    ]
    assert "sdk/mien/zoo/demo/weights.safetensors" in zoo


def test_the_archives_say_which_commit_they_are_of(gpu: Import, tmp_path: Path) -> None:
    tracked()
    prepared = tmp_path / "prepared" / "generator"
    prepared.mkdir(parents=True)
    (prepared / "bundle.json").write_text("{}")
    names = ["benchmarks/gpu/run.py", "sdk/mien/zoo/embedder/bundle.json", "README.md"]
    sizes = gpu("pack").pack(tmp_path / "out", prepared.parent, [], names)
    assert set(sizes) == {"code/code.tar.xz", "zoo/zoo.tar"}
    away = tmp_path / "away"
    for name in sizes:
        with tarfile.open(tmp_path / "out" / name) as archive:
            archive.extractall(away, filter="data")
    found = {str(p.relative_to(away)) for p in away.rglob("*") if p.is_file()}
    assert found == {
        "COMMIT", "benchmarks/gpu/run.py", "prepared/generator/bundle.json",
        "sdk/mien/zoo/embedder/bundle.json",
    }  # fmt: skip
    assert gpu("sections").commit(away)[:40] == gpu("pack").commit()[:40]
