"""Aligned faces, as a network takes them: squares of its own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ArchMismatch, InputError
from mien_engines import Engine

U8 = NDArray[np.uint8]


def scaled(picture: U8, size: int, name: str) -> U8:  # [S, S, 3] -> [size, size, 3]
    """Scale an aligned crop (Lanczos); one that has the size keeps its bits.

    Raises InputError for a picture that is no square.
    """
    height, width = picture.shape[:2]
    if height != width:
        raise InputError(
            f"the {name} is {width} x {height} px, expected a square",
            hint="Align the photograph first: studio.align(photo), or mien align",
        )
    if width == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def scaled_all(pictures: Sequence[U8], size: int, name: str) -> U8:  # -> [N, size, size, 3]
    """Scale several. Raises InputError where there are none, and as `scaled`."""
    if not pictures:
        raise InputError(f"no {name} was given", hint="Give at least one")
    return np.stack([scaled(picture, size, f"{name} {i}") for i, picture in enumerate(pictures)])


def size_of(engine: Engine, name: str = "resolution") -> int:
    """Return a size that a bundle states. Raises ArchMismatch where it does not."""
    value = engine.bundle.spec.properties.get(name)
    if not isinstance(value, int):
        raise ArchMismatch(f"bundle {engine.bundle.spec.name} does not state its {name}")
    return value
