"""What the tests of the operations share: every implementation there is on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.ops import dispatch

KERNELS = dispatch.load()
NAMES = ("generic", "avx2", "avx512")


def isa_or_skip(isa: str) -> str:
    """Skip where the kernels are not built, or this machine has no such instructions."""
    if isinstance(KERNELS, str):
        pytest.skip(f"the compiled kernels are {KERNELS}: make ext")
    if isa not in KERNELS.isas():
        pytest.skip(f"this machine has no {isa}")
    return isa


def use(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    """Let the operations run on the kernels of one instruction set."""
    isa_or_skip(isa)
    monkeypatch.setattr(dispatch, "load", lambda: OneIsa(isa))


class OneIsa(type(dispatch)):  # a module, as `dispatch.native` expects
    """The compiled module with the instruction set chosen."""

    def __init__(self, isa: str) -> None:
        super().__init__(f"mien._ext as {isa}")
        self.isa = isa

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(getattr(KERNELS, name), isa=self.isa)


def assert_close(found: NDArray[Any], expected: NDArray[Any], tolerance: float = 1e-5) -> None:
    """Within tolerance of the range of what is expected; at least that of 1."""
    assert found.shape == expected.shape
    reach = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * reach)
