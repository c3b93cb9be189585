"""Over two hundred hostile files: none is run, none takes long, none takes much."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.bombs import bombs
from tests.attacks.calls import calls

MOST_SECONDS, MOST_MIB = 2.0, 256  # seconds of the processor: other work does not count
MOST_STEPS = 200  # millions of Python's, that as many seconds are where it is slower


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "sung"


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, canary: Path, names: dict[str, str]
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("attacks")
    for i, (name, content) in enumerate([*calls(str(canary)), *bombs()]):
        file = f"{i:04d}.{('pt', 'pkl', 'pth', 'safetensors')[i % 4]}"
        (folder / file).write_bytes(content)
        names[file] = name
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "read_all.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_there_are_more_than_two_hundred(outcome: dict[str, Any], names: dict[str, str]) -> None:
    assert len(names) > 200
    assert len(outcome["results"]) == 2 * len(names)


def test_nothing_is_run(outcome: dict[str, Any], canary: Path) -> None:
    assert outcome["events"] == []
    assert not canary.exists()


def test_every_call_is_refused(outcome: dict[str, Any], names: dict[str, str]) -> None:
    read = {names[file] for file, kind, _ in outcome["results"] if kind == "read"}
    assert read == set()


def test_pickles_that_name_a_harmful_callable_are_unsafe(
    outcome: dict[str, Any], names: dict[str, str]
) -> None:
    kinds = {kind for file, kind, _ in outcome["results"] if " by " in names[file]}
    assert "UnsafeFile" in kinds
    assert kinds <= {"UnsafeFile", "CorruptFile", "ArchMismatch"}


def test_none_takes_long(outcome: dict[str, Any], names: dict[str, str]) -> None:
    times = {names[file]: seconds for file, _, seconds in outcome["results"]}
    most = max(MOST_SECONDS, MOST_STEPS * outcome["pace"])
    assert {name: t for name, t in times.items() if t > most} == {}


def test_none_takes_much_memory(outcome: dict[str, Any]) -> None:
    assert outcome["grown_kib"] < MOST_MIB * 1024
