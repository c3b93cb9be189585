"""An earlier report: what is slower, gone or wrong now, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.bench.conftest import SHORT

from mien.bench import BenchReport, Plan, baseline, contest, measure, run, works
from mien.bench.report import Accuracy, Case, Gpu, Refusal, Shown, Timeline
from mien.cli.main import main
from mien.errors import InputError

ASKED = [("tiny/linear", "ort"), ("tiny/linear", "ov"), ("live", "ort")]


def case_of(report: BenchReport, who: str, passed: bool | None = True) -> Case:
    accuracy = Accuracy(measure="x", value=0.01 if passed else 0.5, tolerance=0.02, passed=passed)
    return report.cases[0].model_copy(
        update={"work": "tiny/linear", "who": who, "accuracy": accuracy}
    )


def reduced(report: BenchReport, *cases: Case, **others: Any) -> BenchReport:
    return report.model_copy(update={"cases": cases, "refusals": (), **others})


def slowed(report: BenchReport, times: float) -> BenchReport:
    cases = [
        case.model_copy(
            update={"rounds_ms": tuple(tuple(t / times for t in r) for r in case.rounds_ms)}
        )
        for case in report.cases
    ]
    return report.model_copy(update={"cases": tuple(cases)})


def test_what_became_slower_than_its_baseline_is_a_regression(
    report: BenchReport, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A baseline that was a hundred times as fast, and one that was a hundred times as slow."""
    options = [
        str(tiny),
        "--graph",
        "linear",
        "--backend",
        "ort",
        "--calls",
        "60",
        "--threads",
        "1",
        "--starts",
        "0",
        "--no-roofline",
        "--json",
    ]
    fast = slowed(report, 100).save(tmp_path / "fast.json")
    slow = slowed(report, 0.01).save(tmp_path / "slow.json")
    assert main(["bench", *options, "--against", str(fast)]) == 1
    found = json.loads(capsys.readouterr().out)["baseline"]
    assert [one["verdict"] for one in found] == ["slower"]
    assert main(["bench", *options, "--against", str(slow)]) == 0
    found = json.loads(capsys.readouterr().out)["baseline"]
    assert [one["verdict"] for one in found] == ["faster"]
    assert found[0]["floor"] >= 0.05
    with pytest.raises(InputError, match="measured with batch 1, this run with 2"):
        measure(Plan(bundle=tiny, graphs=("linear",), batch=2, baseline=fast, **SHORT))
    elsewhere = report.computer.model_copy(update={"cpu": "another", "packages": {"numpy": "1.0"}})
    report.model_copy(update={"computer": elsewhere}).save(fast)
    again = measure(
        Plan(bundle=tiny, graphs=("linear",), backends=("ort",), baseline=fast, **SHORT)
    )
    assert any("another machine (another" in note for note in again.notes)
    assert any("numpy 1.0 -> " in note for note in again.notes)


def test_what_the_baseline_had_and_is_not_measured_now_is_listed_with_the_reason(
    report: BenchReport,
) -> None:
    line = Timeline(who="ort", summary={}, shown=(Shown(at_s=1, frame_ms=1, age_ms=1, dropped=0),))
    both = [case_of(report, who) for who in ("ort", "ov")]
    earlier = reduced(report, *both, timelines=(line,))
    refused = (
        Refusal(work="tiny/descent", who="ov", reason="of another work"),
        Refusal(work="", who="ov", reason="backend ov needs openvino"),
        Refusal(work="live", who="ort", reason="too slow"),
    )
    now = reduced(report, both[0], refusals=refused)
    assert list(baseline.broken(earlier, now, ASKED)) == [
        "tiny/linear, ov was measured in the baseline and is not now: backend ov needs openvino",
        "live, ort was measured in the baseline and is not now: too slow",
    ]
    # Not asked for: another work, a backend that --backend leaves out.
    assert list(baseline.broken(earlier, now, [("tiny/linear", "ort")])) == []
    assert list(baseline.broken(earlier, earlier, ASKED)) == []
    assert list(baseline.broken(now, earlier, ASKED)) == []


def test_a_gate_that_is_no_longer_passed_is_listed(report: BenchReport) -> None:
    good, bad = (reduced(report, case_of(report, "ov", passed)) for passed in (True, False))
    assert list(baseline.broken(good, bad, ASKED)) == [
        "tiny/linear, ov passed its gate in the baseline and does not now: off by 0.5, 0.02 allowed"
    ]
    assert list(baseline.broken(bad, bad, ASKED)) == []
    assert list(baseline.broken(bad, good, ASKED)) == []
    verb = reduced(report, case_of(report, "ov", None))
    assert list(baseline.broken(good, verb, ASKED)) == []


def test_rivals_do_not_count(report: BenchReport) -> None:
    torch, ort = case_of(report, "torch"), case_of(report, "ort")
    asked = [("tiny/linear", "ort"), ("tiny/linear", "torch")]
    assert list(baseline.broken(reduced(report, ort, torch), reduced(report, ort), asked)) == []
    (one, *_) = report.comparisons
    slower = [
        one.model_copy(update={"case": f"tiny/linear, {who}", "verdict": "slower"})
        for who in ("ort", "torch")
    ]
    found = reduced(report, ort, torch, baseline=tuple(slower))
    assert found.regressions == (slower[0],)
    assert found.failed
    assert not found.model_copy(update={"baseline": (slower[1],)}).failed


def test_a_backend_that_is_gone_makes_the_status_1(
    report: BenchReport, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Unasked, those that open are measured; one that opened then does not now."""
    gone = slowed(reduced(report, case_of(report, "ort"), case_of(report, "ort-cuda")), 0.01)
    path = gone.save(tmp_path / "earlier.json")
    for module in (run, works):
        monkeypatch.setattr(module, "LISTING", ("ort", "ort-cuda"))
    monkeypatch.setattr(contest, "allocations", lambda call: None)  # it takes its time
    options = [str(tiny), "--graph", "linear", "--calls", "30", "--threads", "1", "--starts", "0"]
    options += ["--no-roofline", "--against", str(path)]
    assert main(["bench", *options]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "tiny/linear, ort-cuda was measured in the baseline and is not now: backend" in shown
    assert main(["bench", *options, "--backend", "ort"]) == 0


def test_reports_of_other_settings_are_refused_before_anything_is_measured(
    report: BenchReport, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: Any, **__: Any) -> None:
        raise AssertionError("it was measured")

    path = report.save(tmp_path / "earlier.json")
    monkeypatch.setattr(works, "graph_contestants", measured)
    for asked in ({"batch": 2}, {"scenario": "offline"}, {"cold": True}):
        with pytest.raises(InputError, match=r"the baseline was measured with .*, this run with"):
            measure(Plan(bundle=tiny, graphs=("linear",), baseline=path, **SHORT | asked))


H200 = Gpu(name="H200", sm="9.0", driver="580.95.05")


def notes_between(report: BenchReport, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is said of two computers that are this one but for some fields."""
    there, here = (report.computer.model_copy(update=fields) for fields in (before, after))
    earlier = report.model_copy(update={"computer": there})
    return baseline.comparable(report.settings, here, earlier, ())


def test_another_gpu_is_another_machine(report: BenchReport) -> None:
    other = Gpu(name="L4", sm="8.9", driver="580.95.05")
    (note,) = notes_between(report, {"gpu": H200}, {"gpu": other})
    assert "of another machine" in note
    assert "H200" in note
    assert not notes_between(report, {"gpu": H200}, {"gpu": H200})


def test_a_drivers_update_is_a_change_of_version(report: BenchReport) -> None:
    newer = H200.model_copy(update={"driver": "590.1"})
    (note,) = notes_between(report, {"gpu": H200}, {"gpu": newer})
    assert note == "versions changed since the baseline: driver 580.95.05 -> 590.1"


@pytest.mark.parametrize(("before", "after"), [(None, H200), (H200, None), (None, None)])
def test_a_report_that_names_no_gpu_may_be_of_this_machine(
    report: BenchReport, before: Gpu | None, after: Gpu | None
) -> None:
    assert not notes_between(report, {"gpu": before}, {"gpu": after})


def test_packages_that_came_and_went_are_changes_too(report: BenchReport) -> None:
    before, after = {"numpy": "2.0", "torch": "2.9"}, {"numpy": "2.0", "openvino": "2026.4"}
    (note,) = notes_between(report, {"packages": before}, {"packages": after})
    assert note == (
        "versions changed since the baseline: torch 2.9 -> none, openvino none -> 2026.4"
    )


def test_a_server_takes_the_rate_that_each_work_had_in_the_baseline(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "allocations", lambda call: None)  # it takes its time
    asked: dict[str, Any] = {
        "bundle": tiny, "graphs": ("linear", "descent"), "backends": ("ort",),
        "scenario": "server", "streams": 1, "calls": 40, "threads": 1,
    }  # fmt: skip
    found = measure(Plan(**asked))
    assert found.settings.rate is None
    assert all(case.rate for case in found.cases)
    rates = {"tiny/linear": 400.0, "tiny/descent": 700.0}
    cases = [case.model_copy(update={"rate": rates[case.work]}) for case in found.cases]
    first = found.model_copy(update={"cases": tuple(cases)})
    path = first.save(tmp_path / "server.json")
    again = measure(Plan(**asked, baseline=path))
    assert {case.work: case.rate for case in again.cases} == rates
    assert len(again.baseline) == 2
    with pytest.raises(InputError, match=r"measured with rate .*, this run with 7\.5"):
        measure(Plan(**asked, rate=7.5, baseline=path))
    # A work that is not in the baseline finds its own; a rate for all was kept in the settings.
    alone = first.model_copy(update={"cases": first.cases[:1]})
    assert baseline.rate_of(alone, "tiny/descent") is None
    plain = [case.model_copy(update={"rate": None}) for case in first.cases]
    settings = first.settings.model_copy(update={"rate": 5.0})
    old = first.model_copy(update={"cases": tuple(plain), "settings": settings})
    assert baseline.rate_of(old, "tiny/descent") == 5.0
