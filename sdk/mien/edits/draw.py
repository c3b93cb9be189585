"""Drawing many codes: in batches, so that memory does not grow with their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.edits.latents import F32
from mien_engines import Engine

# Codes a call. On CPUs, maps of more leave the caches: 16 at once took 1.3 to 1.5 times as long a
# face as 4 (ONNX Runtime, the networks of 128 px that come with mien).
BATCH = 4


def draw(engine: Engine, codes: F32) -> NDArray[np.uint8]:
    """Return the pictures [N, H, W, 3] of codes [N, L, D]."""
    batches = (codes[i : i + BATCH] for i in range(0, len(codes), BATCH))
    return np.concatenate([engine.run("render", ws=batch)["picture"] for batch in batches])
