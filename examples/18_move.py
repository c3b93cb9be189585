"""Make an edit direction of two groups of faces, and move a face along it.

python examples/18_move.py
"""

from __future__ import annotations

import numpy as np

import mien

with mien.Studio("demo") as studio:
    # Long hair against short, by eye. A direction is [D] for all layers, or [L, D].
    long, short = (
        np.mean([studio.sample(seed) for seed in seeds], axis=0)
        for seeds in ((2, 8, 14), (3, 11, 12))
    )
    np.save("hair.npy", long - short)

    face = studio.sample(seed=4)
    direction = mien.load_direction("hair.npy")  # .pt and .safetensors are read too
    for strength in (-0.5, 0.75, 1.5):
        studio.move(face, direction, strength, layers="4-32px").save(f"hair_{strength:+g}.png")
