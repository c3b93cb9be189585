"""Small inputs for runs over many items, and a look at what a run left."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OPTIONS = {"style": "mosaic", "match_colour": 0.5}


def pictures(folder: Path, count: int, seed: int = 1) -> Path:
    """Write pictures of several sizes, one of them in a folder of its own."""
    rng = np.random.default_rng(seed)
    (folder / "more").mkdir(parents=True)
    for number in range(count):
        place = folder / "more" if number == 1 else folder
        height, width = (int(side) for side in rng.integers(24, 48, 2))
        Image.fromarray(noise(rng, height, width)).save(place / f"{number:02d}.png")
    return folder


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its path: the SHA-256 of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
