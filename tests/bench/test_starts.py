"""Fresh processes: what they cost, and what is said of one that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.bench.conftest import SHORT
from tests.engines.test_plans import KEY, header

from mien.bench import Plan, measure, starts
from mien.bench.starts import starts as start
from mien.errors import RunError
from mien_engines.plans import PlanCache

RECORD = (
    '{"import_s": 0.1, "load_s": 0.2, "call_s": 0.3, "ended": 9e9, "again_ms": 4.0, '
    '"imported_mb": 10.0, "resident_mb": 20.0, "peak_mb": 30.0, "device_mb": %s}'
)


def test_a_process_that_takes_too_long_is_a_run_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "SCRIPT", "import time; time.sleep(60)")
    monkeypatch.setattr(starts, "TIMEOUT_S", 0.3)
    with pytest.raises(RunError, match=r"with ov took more than 0\.3 s\. .*--starts 0"):
        start("x", "ov", count=1, bundle=None, verb="mix")


@pytest.mark.parametrize("who", ["ort", "ort-cuda"])
def test_the_record_is_the_last_line_whatever_a_runtime_prints_before(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """The process is asked for memory of a device where the backend has one."""
    script = f"import sys; print('loading {{}}'); print({RECORD!r} % "
    script += "('512.0' if '\"device\": true' in sys.argv[1] else 'null'))"
    monkeypatch.setattr(starts, "SCRIPT", script)
    cold, warm = start("x", who, count=1, bundle=None, verb="mix")
    assert (cold.load_s, warm.call_s, cold.resident_mb) == (0.2, 0.3, 20.0)
    assert cold.device_mb == (512.0 if who == "ort-cuda" else None)


@pytest.mark.parametrize("said", ["", "print('done')"])
def test_a_process_without_a_record_is_a_run_error(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(starts, "SCRIPT", said)
    with pytest.raises(RunError, match="with ort printed no record"):
        start("x", "ort", count=1, bundle=None, verb="mix")


LOADS_PLANS = f"""
import json
from mien_engines.plans import PlanCache
plans = PlanCache()
found = [plans.load(path)[0].key.graph for path in plans.paths()]
files = sum(path.is_file() for path in plans.root.rglob("*"))
for path in plans.paths():
    path.with_suffix(".kernels").write_text("compiled")
record = json.loads({RECORD!r} % "null")
print(json.dumps(record | {{"load_s": len(found), "call_s": files}}))
"""


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "copied"])
@pytest.mark.parametrize(("who", "count"), [("rtx-fp16", 2), ("trt", 1), ("ort", 0)])
def test_a_fresh_process_finds_the_plans_that_were_built_and_no_kernels(
    monkeypatch: pytest.MonkeyPatch, who: str, count: int, linked: bool
) -> None:
    plans = PlanCache()
    for library, precision in (("rtx", "fp16"), ("rtx", "f32"), ("trt", "f32")):
        key = KEY.model_copy(update={"library": library, "precision": precision})
        plans.store(header(b"plan", key), b"plan")
        plans.path(key).with_suffix(".kernels").write_text("of the user")
    others = KEY.model_copy(update={"library": "rtx", "graph": "another"})
    plans.store(header(b"plan", others), b"plan")
    plans.path(others).chmod(0o666)  # it may have been written by anyone, and is not lent
    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(starts, "SCRIPT", LOADS_PLANS)
    cold, warm = start("x", who, count=1, bundle=None, verb="mix")
    assert (cold.load_s, cold.call_s) == (count, count)
    assert (warm.load_s, warm.call_s) == (count, 2 * count)
    assert plans.path(others).with_suffix(".kernels").exists() is False


def refuse(*_: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_where_there_is_no_room_for_plans_that_is_a_run_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    PlanCache().store(header(b"plan"), b"plan")
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(starts.shutil, "copy2", full)
    with pytest.raises(RunError, match=r"cannot be lent .*: No space left .*--starts 0"):
        start("x", "trt", count=1, bundle=None, verb="mix")


@pytest.mark.slow
def test_fresh_processes_are_started_cold_and_warm(tiny: Path) -> None:
    plan = Plan(bundle=tiny, graphs=("linear",), backends=("ort",), starts=1, **SHORT)
    cold, warm = measure(plan).starts
    assert (cold.cache, warm.cache) == ("cold", "warm")
    for one in (cold, warm):
        assert one.total_s > one.import_s + one.load_s + one.call_s > 0
        assert one.resident_mb is None or one.resident_mb > 5


@pytest.mark.slow
def test_a_process_that_fails_says_why(tiny: Path) -> None:
    with pytest.raises(RunError, match=r"failed: .*no graph 'dance'"):
        start("x", "ort", count=1, bundle=tiny, graph="dance", feeds={})
