"""The suite's own work: rows become tables, losses are named, sections are kept."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import suite

    return suite


def row(who: str, ms: float, precision: str = "f32") -> dict[str, Any]:
    return {"what": "x", "who": who, "precision": precision, "median_ms": ms}


def test_where_torch_is_faster_is_said(suite: Any) -> None:
    rows = [row("ort", 3.0), row("ov", 2.0), row("torch", 2.5), row("torch-channels-last", 1.0)]
    (said,) = suite.losses(rows)
    assert said == "x, f32: ov takes 2.00 times torch-channels-last's"
    assert suite.losses([row("ov", 1.0), row("torch", 2.5)]) == []
    assert suite.losses([row("ov", 9.0), row("torch", 2.5, "bf16")]) is None


def test_rows_of_any_names_are_a_table(suite: Any) -> None:
    text = suite.table([{"who": "a", "best_ms": 0.12345}, {"who": "b", "n": 3, "best_ms": 1234.5}])
    assert text.splitlines() == [
        "| who | best ms | n |", "| --- | ---: | ---: |", "| a | 0.123 | - |",
        "| b | 1234 | 3 |",
    ]  # fmt: skip


def test_a_section_that_is_there_is_not_measured_again(
    suite: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "peer.py"
    script.write_text("print('# no GPU')\nprint('{\"machine\": \"m\"}')\nprint('{\"a\": 1}')\n")
    options = argparse.Namespace(
        output=tmp_path, only=["none"], quick=False, again=False, threads=1,
        peer=[f"they={sys.executable} {script}"],
    )  # fmt: skip
    ((name, _, found),) = suite.collected(options)
    assert (name, found["rows"], found["machine"]) == ("peer-they", [{"a": 1}], "m")
    assert found["remarks"] == ["no GPU"]
    assert json.loads((tmp_path / "peer-they.json").read_text()) == found
    script.write_text("raise SystemExit('broken')")
    ((_, _, kept),) = suite.collected(options)
    assert kept == found
    options.again = True
    ((_, _, broken),) = suite.collected(options)
    assert broken["error"] == "broken"
    assert "Failed: broken" in suite.page({"peer-they": broken}, "m")
    capsys.readouterr()
