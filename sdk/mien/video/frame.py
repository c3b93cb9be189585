"""What a video is made of: facts, and frames with their times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, upright.

    picture: uint8 RGB [H, W, 3]. index: from 0.
    pts, duration: when it is shown and for how long, in units of time_base seconds, as the file
        has them; nothing is computed from a frame rate.
    aspect: of a pixel, width over height.
    """

    picture: U8
    index: int
    pts: int
    duration: int
    time_base: Fraction
    aspect: Fraction = Fraction(1)

    @property
    def seconds(self) -> float:
        """When it is shown."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True)
class Facts:
    """What is known of a video before its frames are decoded.

    frames, seconds: None where the file does not say.
    sounds: a line for each sound track. left_out: one for each other track, such as subtitles.
    loop: of a GIF: 0 for ever, n times, None once. metadata: title and the like.
    """

    kind: str
    time_base: Fraction
    frames: int | None = None
    seconds: float | None = None
    sounds: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    loop: int | None = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Losses:
    """What did not come out of a file, counted while it is read.

    lost: frames that the file promises and that could not be decoded.
    damaged: frames that were decoded although parts of them were missing.
    """

    lost: int = 0
    damaged: int = 0


def scaled(width: int, height: int, side: int | None) -> tuple[int, int]:
    """A size whose shorter side is `side`, of the same shape."""
    if side is None:
        return width, height
    factor = side / min(width, height)
    return round(width * factor), round(height * factor)
