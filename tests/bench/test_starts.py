"""Fresh processes: what they cost, and what is said of one that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bench.conftest import SHORT

from mien.bench import Plan, measure, starts
from mien.bench.starts import starts as start
from mien.errors import RunError

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
