"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The same examples wherever and whenever they run, however slowly: none is found by chance or kept
# for the next run, and a busy machine fails no test.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

SHARED = Path(__file__).parents[1].parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, beside which all the others run."""
    items.sort(key=lambda item: item.path.name != "test_zoo.py")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What other runs, other checkouts and the user keep is neither read nor changed.

    The workers of a run share a cache, as processes of a user do, and compile everything once.
    """
    run = tmp_path_factory.getbasetemp()
    cache = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_CACHE_DIR", str(cache))
        yield


@pytest.fixture
def shared() -> Path:
    """The folder of test data that lies beside a checkout; users' machines have none."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared test data is not on this machine")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2024)
