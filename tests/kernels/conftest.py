"""The kernels, compiled once for all tests of a run."""

from __future__ import annotations

import ctypes

import pytest

from tests.kernels.emulation import build, sources


@pytest.fixture(scope="session")
def kernels() -> ctypes.CDLL:
    return build(sources())
