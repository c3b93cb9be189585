"""A cache of its own for each test, the tiny bundle of the engines' tests, and a report of it."""

from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import _make_bundle, cache, new_bundle

from mien.bench import BenchReport, Plan, contest, measure

__all__ = ["cache", "new_bundle"]

SHORT: dict[str, Any] = {"calls": 60, "threads": 1}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture(scope="session")
def report(tiny: Path) -> BenchReport:
    return measure(Plan(bundle=tiny, graphs=("linear", "descent"), **SHORT))


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the counting of allocations, which takes its time where torch is loaded, too."""
    monkeypatch.setattr(contest, "allocations", lambda call: None)
