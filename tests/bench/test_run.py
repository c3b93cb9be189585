"""Whole runs on a tiny bundle: records, accuracy, baselines, pages, the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.bench.conftest import SHORT
from tests.realtime.watching import Hasty

from mien.bench import BenchReport, Plan, contest, measure, plugins, save_html, works
from mien.bench.allocations import Allocations
from mien.bench.html import page
from mien.bench.report import Case, Counts, Refusal, Roof
from mien.bench.stats import summary
from mien.bench.timing import time_calls
from mien.cli.bench_table import show
from mien.errors import (
    ArchMismatch,
    BackendUnavailable,
    Cancelled,
    CorruptFile,
    DeviceOutOfMemory,
    InputError,
    MissingDependency,
)
from mien_engines import ceilings
from mien_engines.backends import LISTING, get
from mien_engines.backends.base import Backend
from mien_engines.bundle import Bundle, save_spec


def available(name: str) -> bool:
    try:
        get(name).probe()
    except BackendUnavailable:
        return False
    return True


def test_a_run_has_every_backend_that_opens_and_says_why_others_do_not(
    report: BenchReport,
) -> None:
    opening = [name for name in LISTING if available(name)]
    for work in ("tiny/linear", "tiny/descent"):
        assert [case.who for case in report.cases if case.work == work] == opening
    refused = {one.who for one in report.refusals}
    assert refused == {*LISTING} - {*opening}
    assert all(one.reason for one in report.refusals)


def test_a_case_has_its_calls_and_what_they_say(report: BenchReport) -> None:
    for case in report.cases:
        times = [value for block in case.rounds_ms for value in block]
        assert len(times) == case.summary.count == 60
        assert case.summary.median == pytest.approx(float(np.median(times)), abs=1e-4)
        assert case.summary.percentile(99) is None
        assert case.first_ms is not None
        assert case.first_ms > 0
        assert case.per_second > 0
        assert case.allocations is not None
        assert case.allocations.kept_kb >= 0


def test_the_accuracy_stands_beside_the_speed(report: BenchReport) -> None:
    for case in report.cases:
        assert case.accuracy is not None
        assert case.accuracy.tolerance is not None
        assert case.accuracy.value is not None
        assert case.accuracy.passed == (case.accuracy.value <= case.accuracy.tolerance)
        if case.who == "ort":
            assert case.accuracy.value == 0
    for case in report.cases:
        if case.who == "ov-bf16" and case.work == "tiny/linear":
            assert case.accuracy is not None
            assert case.accuracy.value is not None
            assert case.accuracy.value > 1e-5  # eight bits are seen


ALLOCATING = """
import numpy as np
from mien.bench.allocations import allocations

leaked = []
for call in (
    lambda: np.ones(125_000),
    lambda: len(bytes(500_000)),
    lambda: leaked.append(bytearray(1000)),
):
    print(allocations(call).model_dump_json())
"""


def test_what_a_call_allocates_keeps_and_leaves_is_told_apart() -> None:
    """In a process of its own: what other threads allocate is counted, too."""
    ran = subprocess.run(
        [sys.executable, "-c", ALLOCATING], capture_output=True, text=True, check=True
    )
    array, short, grows = map(Allocations.model_validate_json, ran.stdout.splitlines())
    assert array.kept_kb == pytest.approx(1000, rel=0.01)
    assert array.left_blocks == 0
    assert short.peak_kb == pytest.approx(500, rel=0.01)
    assert short.kept_kb < 5
    assert grows.left_blocks >= 1  # each call leaves a bytearray and its bytes


def test_each_is_compared_with_the_first(report: BenchReport) -> None:
    assert {c.against for c in report.comparisons} == {"ort"}
    ratios = {c.case: c.ratio for c in report.comparisons}
    medians = {case.name: case.summary.median for case in report.cases}
    for name, ratio in ratios.items():
        work = name.partition(",")[0]
        assert ratio == pytest.approx(medians[f"{work}, ort"] / medians[name], rel=1e-3)
    assert set(report.floors) == {"tiny/linear", "tiny/descent"}


def test_a_report_comes_back_from_its_file_as_it_was(report: BenchReport, tmp_path: Path) -> None:
    path = report.save(tmp_path / "report.json")
    assert BenchReport.load(path) == report
    record = json.loads(path.read_text())
    assert record["schema_version"] == 2
    assert set(record["cases"][0]) == set(Case.model_fields)
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_of_version_1_says_not_finite_by_minus_1(
    report: BenchReport, tmp_path: Path
) -> None:
    record = json.loads(report.model_dump_json())
    for case, value in zip(record["cases"], (-1.0, -0.25, 0.5), strict=False):
        case["accuracy"]["value"] = value
    record["cases"][3:] = []
    record["schema_version"] = 1
    (tmp_path / "old.json").write_text(json.dumps(record))
    found = BenchReport.load(tmp_path / "old.json")
    accuracies = [case.accuracy for case in found.cases if case.accuracy is not None]
    assert [accuracy.value for accuracy in accuracies] == [None, -0.25, 0.5][: len(accuracies)]
    assert accuracies[0].shown == "not finite"
    # Since then -1 is a number like others: of a search that found a loss of 0.
    again = found.model_dump(mode="json")
    again["cases"][0]["accuracy"]["value"] = -1.0
    (first, *_) = BenchReport.model_validate(again).cases
    assert first.accuracy is not None
    assert first.accuracy.value == -1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda record: record.pop("cases"), "cases"),
        (lambda record: record.update(schema_version=3), "schema_version"),
        (lambda record: record.update(extra=1), "extra"),
        (lambda record: record["cases"][0].update(per_second="fast"), r"cases\.0\.per_second"),
    ],
)
def test_another_record_is_no_report(
    report: BenchReport, tmp_path: Path, spoil: Callable[[Any], Any], message: str
) -> None:
    record = json.loads(report.model_dump_json())
    spoil(record)
    (tmp_path / "x.json").write_text(json.dumps(record))
    with pytest.raises(CorruptFile, match=message):
        BenchReport.load(tmp_path / "x.json")
    (tmp_path / "y.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFile, match="not text"):
        BenchReport.load(tmp_path / "y.json")
    with pytest.raises(InputError, match="cannot be read"):
        BenchReport.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be written"):
        report.save(tmp_path / "no" / "folder.json")


@pytest.mark.usefixtures("brief")
def test_the_server_takes_a_rate_or_finds_one(tiny: Path) -> None:
    plan = Plan(
        bundle=tiny,
        graphs=("linear",),
        backends=("ort",),
        scenario="server",
        streams=1,
        rate=200,  # a call of a few microseconds every 5 ms: pauses of the machine do no harm
        calls=60,
        threads=1,
    )
    found = measure(plan)
    (case,) = found.cases
    assert found.settings.rate == 200
    assert case.service_ms is not None
    assert case.summary.median >= case.service_ms
    assert case.busy is not None
    assert 0 < case.busy <= 1
    assert not case.overloaded
    free = measure(
        Plan(
            bundle=tiny,
            graphs=("linear",),
            backends=("ort",),
            scenario="server",
            calls=40,
            threads=1,
        )
    )
    assert free.settings.rate is None
    assert free.cases[0].rate is not None
    assert free.cases[0].rate > 100


@pytest.mark.usefixtures("brief")
def test_batches_and_several_callers_are_counted_by_samples(tiny: Path) -> None:
    offline = measure(
        Plan(
            bundle=tiny,
            graphs=("linear",),
            backends=("ort",),
            scenario="offline",
            batch=16,
            **SHORT,
        )
    )
    (case,) = offline.cases
    calls_per_second = 1e3 / case.summary.mean
    assert case.per_second == pytest.approx(16 * calls_per_second, rel=0.01)
    both = measure(
        Plan(
            bundle=tiny,
            graphs=("linear", "descent"),
            backends=("ort",),
            streams=3,
            scenario="multi-stream",
            **SHORT,
        )
    )
    assert both.settings.streams == 3
    assert all(case.summary.count >= 60 for case in both.cases)


@pytest.mark.usefixtures("brief")
def test_caches_can_be_emptied_before_each_call(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.bench.timing.CACHE_BYTES", 1 << 12)
    found = measure(Plan(bundle=tiny, graphs=("linear",), backends=("ort",), cold=True, **SHORT))
    assert found.settings.caches == "cold"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"scenario": "burst"}, "no scenario 'burst'"),
        ({"batch": 0}, "batch is 0, expected 1"),
        ({"seconds": 0}, "seconds is 0"),
        ({"rate": 5.0}, "the scenario is not server"),
        ({"scenario": "server", "cold": True}, "caches cannot be emptied"),
        ({"verbs": ("mix",), "against": ("torch",)}, "cannot be measured against torch"),
        ({"verbs": ("dance",)}, "no verb 'dance' to measure"),
        ({"verbs": ("mix",), "batch": 4}, r"a verb takes no batch\. Name a graph: --graph render"),
        ({"extras": {"heads": Path("x")}}, "no extra file 'heads'. There are: vgg, lpips"),
    ],
)
def test_wrong_plans_say_what_is_expected(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(Plan(**asked))


def test_what_is_not_there_is_refused_before_anything_is_measured(tiny: Path) -> None:
    with pytest.raises(ArchMismatch, match="no graph 'dance'"):
        measure(Plan(bundle=tiny, graphs=("dance",)))
    with pytest.raises(ArchMismatch, match="family test, and the verb mix uses"):
        measure(Plan(bundle=tiny, verbs=("mix",)))
    with pytest.raises(BackendUnavailable, match="there is no backend 'abacus'"):
        measure(Plan(bundle=tiny, graphs=("linear",), backends=("abacus",)))


def test_a_graph_without_a_batch_refuses_one_before_anything_is_measured(
    new_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = new_bundle()
    spec = bundle.graph("linear")
    fixed = spec.model_copy(
        update={"inputs": (spec.inputs[0].model_copy(update={"shape": (1, 3)}),)}
    )
    graphs = {**bundle.spec.graphs, "linear": fixed}
    save_spec(bundle.folder, bundle.spec.model_copy(update={"graphs": graphs}))
    monkeypatch.setattr(works, "graph_contestants", measured)
    plan = Plan(bundle=bundle.folder, graphs=("descent", "linear"), batch=2, **SHORT)
    with pytest.raises(InputError, match="linear takes no batch"):
        measure(plan)


def measured(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was measured")


def test_a_work_that_fails_is_not_measured_and_the_others_are(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"bundle": tiny, "graphs": ("descent", "linear"), "backends": ("ort",)}
    monkeypatch.setattr(contest, "allocations", lambda call: None)  # it takes its time
    whole = measure(Plan(**asked, **SHORT))
    assert not whole.failed
    turns = iter([DeviceOutOfMemory("the device has no 9 GB left"), None])

    def once(*arguments: Any) -> Any:
        error = next(turns)
        if error is not None:
            raise error
        return time_calls(*arguments)

    monkeypatch.setattr(contest, "time_calls", once)
    found = measure(Plan(**asked, baseline=whole.save(tmp_path / "whole.json"), **SHORT))
    assert [case.work for case in found.cases] == ["tiny/linear"]
    reason = "the device has no 9 GB left"
    assert found.refusals == (Refusal(work="tiny/descent", who="", reason=reason),)
    assert found.failed
    assert not found.empty
    assert found.model_copy(update={"broken": (), "baseline": ()}).failed
    assert found.broken == (
        f"tiny/descent, ort was measured in the baseline and is not now: {reason}",
    )
    show(found)
    assert f"not measured: tiny/descent: {reason}" in " ".join(capsys.readouterr().out.split())
    assert '<td>tiny/descent</td><td class="words">all</td>' in page(found)


def test_a_graph_without_samples_is_listed_with_what_it_lacks(
    new_bundle: Callable[..., Bundle],
) -> None:
    bundle = new_bundle(sampled=False)
    found = measure(Plan(bundle=bundle.folder, graphs=("linear",), backends=("ort",), **SHORT))
    (refusal,) = found.refusals
    assert "there is no sample of its input x" in refusal.reason
    assert found.empty


def test_who_stops_it_stops_all_of_it(tiny: Path) -> None:
    def stop(what: str) -> None:
        raise Cancelled("that is enough")

    with pytest.raises(Cancelled):
        measure(Plan(bundle=tiny, graphs=("linear",), backends=("ort",), **SHORT), progress=stop)


def test_rivals_are_made_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    class Point:
        name = "torch"

        def load(self) -> Any:
            return make

    def make(bundle: Bundle, graph: str, *_: Any) -> Backend:
        if graph == "descent":
            raise ArchMismatch("descent came as ONNX")
        return get("ort")

    points: list[Any] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    monkeypatch.setattr(works, "graph_contestants", measured)
    plan = Plan(
        bundle=tiny, graphs=("linear", "descent"), backends=("ort",), against=("torch",), **SHORT
    )
    with pytest.raises(MissingDependency, match=r"pip install 'mien\[export\]'"):
        measure(plan)
    points.append(Point())
    with pytest.raises(ArchMismatch, match="came as ONNX"):
        measure(plan)


def test_rivals_need_the_export_package(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    points: list[Any] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.raises(MissingDependency, match=r"pip install 'mien\[export\]'"):
        plugins.rival("torch", Bundle.open(tiny), "linear", None, {})

    class Point:
        name = "torch"

        def load(self) -> Any:
            raise ImportError("no torch", name="torch")

    points.append(Point())
    with pytest.raises(InputError, match="no rival 'jax'"):
        plugins.rival("jax", Bundle.open(tiny), "linear", None, {})
    with pytest.raises(MissingDependency, match="needs torch"):
        plugins.rival("torch", Bundle.open(tiny), "linear", None, {})
    assert plugins.rivals() == ("torch",)


def test_the_page_needs_nothing_from_elsewhere_and_its_plots_are_well_formed(
    report: BenchReport, tmp_path: Path
) -> None:
    text = save_html(report, tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"(src|href)=|url\(|@import|<script|https?:", text)
    assert "prefers-color-scheme: dark" in text
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 2
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.get("aria-label")
        assert len(root.findall("polyline")) == sum(
            case.work == report.cases[0].work for case in report.cases
        )
    assert "n/a" in text


def test_names_in_a_page_are_text(report: BenchReport) -> None:
    spoilt = report.cases[0].model_copy(update={"work": "<script>", "who": '"><b>'})
    text = page(report.model_copy(update={"cases": (spoilt,)}))
    assert "<script" not in text
    assert "<b>" not in text


def test_a_roofline_says_how_near_the_ceiling_a_case_is(report: BenchReport) -> None:
    from mien.bench.plots import reached, roofline

    # 1 GFLOP in 10 ms, 10 MB: 100 operations a byte; the copy allows 1e10 x 100, the product 2e11.
    times = summary([10.0] * 60)
    counts = Counts(flops=1e9, bytes=1e7, products=1, nodes=2, uncounted=0)
    case = report.cases[0].model_copy(update={"summary": times, "counts": counts})
    roof = Roof(threads=1, copied=1e10, product={"f32": 2e11}, by="a test")
    assert reached(case, roof) == pytest.approx(0.5)
    slim = case.model_copy(update={"counts": counts.model_copy(update={"bytes": 1e9})})
    assert reached(slim, roof) == pytest.approx(1e11 / 1e10)
    assert reached(case.model_copy(update={"counts": None}), roof) is None
    assert reached(case, None) is None
    drawn = roofline(report.model_copy(update={"cases": (case,), "roof": roof}))
    assert drawn is not None
    assert "reaches 50%" in drawn
    assert roofline(report) is None


@pytest.mark.slow
def test_a_copy_and_a_product_have_a_speed() -> None:
    assert ceilings.copy_speed(1, 1 << 20) > 1e7
    assert ceilings._numpy_product() > 1e8


def test_a_live_run_has_a_line_for_each_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture takes 30 ms, by a clock that nothing else moves, and three frames come then."""
    from mien.bench import live
    from mien.bench.plots import timeline
    from mien.realtime import pipeline
    from mien.video import FrameEdit

    clock, source = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now), Hasty(side=64)

    class Still:
        def style_edit(self, style: str) -> FrameEdit:
            def draw(picture: Any) -> Any:
                source.wait_for(source.begun + 3 if source.begun else 0)  # not to warm up
                clock.now += 0.03
                return picture

            return FrameEdit(draw, (), (), {})

    monkeypatch.setattr(pipeline, "time", clock)
    monkeypatch.setattr(live, "Synthetic", lambda **_: source)
    run = live.live(Still(), "none", seconds=1.0, frames_per_second=90, side=64)  # type: ignore[arg-type]
    assert run.summary["shown"] == len(run.shown) + 1
    assert [one.dropped for one in run.shown] == sorted(one.dropped for one in run.shown)
    assert run.shown[-1].dropped > 0
    moments = np.array([one.at_s for one in run.shown])
    gaps = np.array([one.frame_ms for one in run.shown])
    np.testing.assert_allclose(np.diff(moments), 1e-3 * gaps[1:], atol=1e-4)
    assert all(one.age_ms > 29.999 for one in run.shown)
    ElementTree.fromstring(timeline(run))
