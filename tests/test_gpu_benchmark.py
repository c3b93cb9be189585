"""The GPU benchmark runs from end to end, tiny and on the CPU; its figures are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu" / "run.py"


def dry_run(out: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--dry", "--out", out, "--work", out / "work", *arguments],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "it proves nothing" in (out / "results.md").read_text()
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_the_machine_is_named_and_a_section_that_takes_too_long_is_recorded(
    tmp_path: Path,
) -> None:
    found = dry_run(tmp_path / "one", "--only", "machine")
    assert found["machine"]["ended"] == "done"
    (row,) = found["machine"]["rows"]
    assert row["dry"] is True
    assert row["cpu"]
    late = dry_run(tmp_path / "two", "--only", "machine", "--limit", "0.01")
    assert late["machine"]["ended"] == "did not end within 0 s"


@pytest.mark.slow
def test_a_section_that_fails_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("where a folder is to be")
    found = dry_run(tmp_path, "--only", "synthesis", "--only", "machine")
    assert found["synthesis"]["ended"] == "ended with status 1"
    assert "Error" in found["synthesis"]["rows"][-1]["failed"]
    assert found["machine"]["ended"] == "done"


@pytest.mark.slow
def test_every_section_runs_and_says_who_was_timed(tmp_path: Path) -> None:
    found = dry_run(tmp_path)
    assert list(found) == [
        "machine", "ceilings", "check", "transfer", "synthesis", "projection", "gatys", "kernels",
    ]  # fmt: skip
    assert {name: section["ended"] for name, section in found.items()} == dict.fromkeys(
        found, "done"
    )
    assert {row["state"] for row in found["check"]["rows"]} == {"accepted"}
    steps = {"ort", "ort, 16 at once", "ov", "ov, 16 at once", "torch eager", "torch compile"}
    frames = {"ort", "ov", "torch eager", "torch compile"}
    for name, who in {
        "transfer": frames, "synthesis": frames, "projection": steps, "gatys": steps,
    }.items():  # fmt: skip
        rows = found[name]["rows"]
        assert {row["who"] for row in rows} == who
        assert not [row for row in rows if "failed" in row], name
        assert all(0 < row["min_ms"] <= row["p50_ms"] <= row["p99_ms"] for row in rows)
