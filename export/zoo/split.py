"""Which faces are never trained on. Every script of the zoo asks here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HELD_OUT = 200
SEED = 0


def split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices to train on and those held out: the last 200 of a fixed shuffle."""
    order = np.random.default_rng(SEED).permutation(count)
    return order[:-HELD_OUT], order[-HELD_OUT:]
