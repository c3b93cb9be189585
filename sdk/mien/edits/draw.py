"""Drawing many codes: in batches, so that memory does not grow with their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.edits.latents import F32
from mien_engines import Engine

BATCH = 8  # codes a call; more gains little on a CPU, and 1024 px need 100 MB each


def draw(engine: Engine, codes: F32) -> NDArray[np.uint8]:
    """Return the pictures [N, H, W, 3] of codes [N, L, D]."""
    batches = (codes[i : i + BATCH] for i in range(0, len(codes), BATCH))
    return np.concatenate([engine.run("render", ws=batch)["picture"] for batch in batches])
