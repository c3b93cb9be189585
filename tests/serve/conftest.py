"""The studio that the tests of the service share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.running import Held, Running, running

from mien.bundles import BUILT_IN
from mien.studio import Studio

PORTRAITS = BUILT_IN / "portraits"


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    if not (BUILT_IN / "demo").exists():
        pytest.skip("the demo bundle is not built")
    with Studio("demo", backend="ort") as opened:
        yield opened


@pytest.fixture(scope="session")
def service(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests that leave it as it was."""
    with running(studio, tmp_path_factory.mktemp("jobs")) as one:
        yield one


@pytest.fixture(scope="session")
def holding() -> Iterator[Held]:
    if not (BUILT_IN / "demo").exists():
        pytest.skip("the demo bundle is not built")
    with Held() as studio:
        yield studio


@pytest.fixture
def held(holding: Held) -> Held:
    holding.reset()
    return holding


@pytest.fixture
def portrait() -> Path:
    return PORTRAITS / "ada.jpg"
