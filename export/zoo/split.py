"""Which faces are never trained on. Every script of the zoo asks here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HELD_OUT = 200
SEED = 0
PORTRAITS = ("images/portraits512/", "images/portraits1024/")


def split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices to train on and those held out: the last 200 of a fixed shuffle."""
    order = np.random.default_rng(SEED).permutation(count)
    return order[:-HELD_OUT], order[-HELD_OUT:]


def without_portraits(data: Path, sources: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which faces are not, smaller, the portraits that figures are measured on.

    sources: where each face comes from (`zoo.faces.load_sources`). MANIFEST.tsv has those of the
    portraits.
    """
    lines = (data / "MANIFEST.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    portraits = {row[1] for row in rows if row[0].startswith(PORTRAITS)}
    return np.array([source not in portraits for source in sources])
