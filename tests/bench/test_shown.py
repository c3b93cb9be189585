"""What the user sees: the terminal's tables, the page, and the files that are written."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from mien.bench import BenchReport, Plan, save_html
from mien.bench.computer import gpu, roof
from mien.bench.html import page
from mien.bench.plots import reached, roofline
from mien.bench.report import Counts, Gpu, Memory, Refusal, Roof, Shown, Start, Timeline, on_gpu
from mien.cli.bench import command
from mien.cli.bench_table import show
from mien.cli.main import main
from mien_engines.backends import LISTING, get
from mien_engines.backends.ort import OrtCuda
from mien_engines.backends.trt import Trt

SPREAD = {"p50": 30.0, "p95": 40.0, "p99": 50.0}


@pytest.fixture
def full(report: BenchReport) -> BenchReport:
    """A report with one of everything."""
    counts = Counts(flops=1e9, bytes=1e7, products=1, nodes=2, uncounted=0)
    shown = [
        Shown(at_s=i / 30, frame_ms=33 + i % 3, age_ms=40 - i % 5, dropped=i // 9)
        for i in range(40)
    ]
    line = Timeline(
        who="ort",
        shown=tuple(shown),
        summary={"fps": 30.0, "dropped": 4, "captured": 45}
        | dict.fromkeys(("frame_ms", "draw_ms", "age_ms"), SPREAD),
    )
    start = Start(
        work="tiny/linear", who="ort", cache="cold", count=1, import_s=0.1, load_s=0.2, call_s=0.3,
        total_s=0.7, again_ms=5.0, imported_mb=50.0, resident_mb=123.0, peak_mb=150.0,
        device_mb=612.0,
    )  # fmt: skip
    first = report.cases[0].model_copy(update={"counts": counts, "rate": 25.0})
    before = report.comparisons[0].model_copy(
        update={"case": first.name, "against": "baseline", "verdict": "slower"}
    )
    machine = report.computer.model_copy(
        update={"gpu": Gpu(name="NVIDIA H200", sm="9.0", driver="580.95.05")}
    )
    return report.model_copy(
        update={
            "cases": (first, *report.cases[1:]),
            "computer": machine,
            "timelines": (line,),
            "starts": (start,),
            "roof": Roof(threads=1, copied=1e10, product={"f32": 2e11, "bf16": 4e11}, by="a test"),
            "baseline": (before,),
            "broken": ("tiny/linear, rtx was measured in the baseline and is not now: no GPU",),
            "refusals": (Refusal(work="", who="rtx", reason="no <GPU>"),),
            "memory": Memory(resident_mb=321.0, peak_mb=432.0, device_mb=765.0),
            "notes": ("versions changed since the baseline: numpy 1.0 -> 2.0",),
        }
    )


def test_the_page_of_a_full_report_has_every_part(full: BenchReport) -> None:
    text = page(full)
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "tiny/linear, 25 requests a second",
        "tiny/descent",
        "Beside the baseline",
        "From nothing to the first result",
        "Real time, ort",
        "Roofline",
        "Not measured",
        "How to read it",
    ]
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    labels = [ElementTree.fromstring(plot).get("aria-label") or "" for plot in plots]
    assert [label.partition(":")[0] for label in labels] == [
        "Latencies of tiny/linear", "Latencies of tiny/descent", "ort", "Roofline",
    ]  # fmt: skip
    assert full.broken[0] in text
    assert "no &lt;GPU&gt;" in text
    assert "NVIDIA H200, sm 9.0, driver 580.95.05" in text
    assert "held 321 MB, 432 MB at most, and 765 MB on the device." in text
    assert re.search(r"MB on device</th></tr>.*<td>612</td></tr>", text, re.DOTALL)
    without = full.model_copy(
        update={"memory": Memory(resident_mb=321.0, peak_mb=None, device_mb=None)}
    )
    assert "held 321 MB." in page(without)


def test_the_whole_page_is_well_formed(full: BenchReport, tmp_path: Path) -> None:
    """As XML, but for the two kinds of tags that HTML leaves open."""
    text = save_html(full, tmp_path / "page.html").read_text("utf-8")
    closed = re.sub(r"<(meta|br)\b([^>]*)>", r"<\1\2/>", text.partition("\n")[2])
    body = ElementTree.fromstring(closed).find("body")
    assert body is not None
    for table in body.iter("table"):
        assert len({len(row) for row in table.iter("tr")}) == 1


def shown(report: BenchReport, width: int = 80) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as caught:
        show(report, console)
    return caught.get()


def test_the_terminal_has_every_part_and_fits_into_80_columns(full: BenchReport) -> None:
    text = shown(full)
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text, "something is cut off"
    words = " ".join(text.split())
    for part in (
        "NVIDIA H200, compute capability 9.0, driver 580.95.05",
        "note versions changed since the baseline: numpy 1.0 -> 2.0",
        "tiny/linear, 25 requests a second",
        "side by side",
        "beside the baseline",
        full.broken[0],
        "from nothing to the first result",
        "live, ort: 30.0 fps, frame 30.0/40.0/50.0 ms",
        "4 of 45 dropped",
        "not measured: rtx: no <GPU>",
    ):
        assert part in words, part
    last = text.rstrip().splitlines()[-1]
    assert last == ("memory of this process: 321 MB resident, 432 MB at most; 765 MB on the device")


def test_a_row_of_the_terminal_is_what_the_report_says(full: BenchReport) -> None:
    lines = [line.split() for line in shown(full).splitlines()]
    case = full.cases[0]
    heads = ["n", "p50", "p90", "p95", "p99", "p99.9", "jitter", "mad", "per", "s"]
    row = lines[lines.index(heads) + 1]
    s = case.summary
    assert (row[0], row[1]) == (case.who, str(s.count))
    assert float(row[2]) == pytest.approx(s.median, rel=0.01)
    assert row[5:8] == ["n/a"] * 3
    assert float(row[8]) == pytest.approx(s.mad, rel=0.01)
    assert float(row[9]) == pytest.approx(case.per_second, rel=0.001)
    call = lines[lines.index(["first", "peak", "kB", "off", "by", "of", "the", "roof"]) + 1]
    assert case.allocations is not None
    assert call[:1] == [case.who]
    assert float(call[2].replace(",", "")) == pytest.approx(case.allocations.peak_kb, abs=0.5)
    part = reached(case, full.roof)
    assert part is not None
    assert call[4] == f"{part:.0%}"


def test_nothing_measured_is_said(report: BenchReport) -> None:
    nothing = report.model_copy(update={"cases": (), "comparisons": ()})
    assert nothing.failed
    assert "nothing was measured" in shown(nothing)
    assert "Nothing was measured." in page(nothing)


def test_the_command_shows_a_table_and_writes_both_files(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, html = tmp_path / "report.json", tmp_path / "page.html"
    options = [str(tiny), "--graph", "linear", "--backend", "ort", "--calls", "30"]
    options += ["--threads", "1", "--starts", "0", "--no-roofline"]
    assert main(["bench", *options, "-o", str(record), "--html", str(html)]) == 0
    found = capsys.readouterr()
    words = " ".join(found.out.split())
    report = BenchReport.load(record)
    assert "tiny/linear n p50 p90" in words
    assert f"ort 30 {report.cases[0].summary.median:.3g} " in words
    assert "memory of this process: " in words
    for path in (record, html):
        assert path.name in found.out.replace("\n", "")
    assert html.read_text("utf-8") == page(report)
    assert sorted(tmp_path.glob("*.*")) == [html, record]
    assert json.loads(record.read_text())["broken"] == []


def test_the_commands_defaults_are_pythons_but_for_those_that_the_page_names() -> None:
    plan, differ = Plan(), set()
    names = {"fps": "frames_per_second", "allow": "allowed"}
    for option, parameter in inspect.signature(command).parameters.items():
        name = names.get(option, option)
        if parameter.default is not None and hasattr(plan, name):
            differ |= {name} if getattr(plan, name) != parameter.default else set()
    assert differ == {"starts", "roofline"}
    text = (Path(__file__).parents[2] / "docs" / "bench.md").read_text("utf-8")
    assert "In Python `starts` is 0 and `roofline` is off unless asked for" in text


def test_who_runs_on_a_gpu_is_known_by_name() -> None:
    for name in LISTING:
        assert on_gpu(name) == isinstance(get(name), OrtCuda | Trt), name
    assert not on_gpu("torch")


@pytest.mark.parametrize("who", ["ort-cuda", "trt-fp16", "rtx"])
def test_a_gpu_is_not_held_against_the_processors_roof(full: BenchReport, who: str) -> None:
    case = full.cases[0].model_copy(update={"who": who, "precision": "bf16"})
    assert reached(full.cases[0], full.roof) is not None
    assert reached(case, full.roof) is None
    alone = full.model_copy(update={"cases": (case,), "comparisons": ()})
    assert roofline(alone) is None
    assert "No operations on the processor were counted" in page(alone)


def test_the_roof_is_measured_in_the_precisions_of_the_processor(
    full: BenchReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.bench import computer
    from mien_engines.ceilings import Ceilings

    asked: list[tuple[str, ...]] = []

    def measure(wanted: tuple[str, ...], threads: int | None) -> Ceilings:
        asked.append(wanted)
        return Ceilings(1, 1e10, {"f32": 1e11}, "a test")

    monkeypatch.setattr(computer, "measure", measure)
    low = [full.cases[0].model_copy(update={"who": w, "precision": "bf16"}) for w in ("rtx", "ov")]
    roof(low[:1], 1)
    roof(low, 1)
    assert asked == [("f32",), ("f32", "bf16")]


def smi(folder: Path, says: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nif [ \"$2\" != 1 ]; then exit 9; fi\necho '{says}'\n")
    tool.chmod(0o755)


def test_the_gpu_is_what_nvidia_smi_says_of_the_first_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    smi(tmp_path, "NVIDIA H200, 9.0, 580.95.05")
    assert gpu() == Gpu(name="NVIDIA H200", sm="9.0", driver="580.95.05")
    smi(tmp_path, "No devices were found")
    assert gpu() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu() is None
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert gpu() is None
