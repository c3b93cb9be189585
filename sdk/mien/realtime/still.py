"""Frames that hardly differ from the one drawn last need not be drawn again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 32  # to a side


class Stillness:
    """Tells frames that hardly differ from the one drawn last.

    Means of 32 x 32 cells are compared, and the largest difference decides: so noise averages out,
    and a small thing that moves does not. The comparison is with the frame drawn last, not with the
    one before, so that slow changes add up until they are seen.

    threshold: levels of 255; 0 finds no frame still.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._drawn: NDArray[np.float32] | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> bool:
        """Return whether a frame [H, W, 3] is like the one drawn last; if not, it is that now."""
        if not self._threshold:
            return False
        cells = _cells(frame)
        if self._drawn is not None and np.abs(cells - self._drawn).max() < self._threshold:
            return True
        self._drawn = cells
        return False


def _cells(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of cells, not rounded; large frames are shrunk before, which is faster in bytes."""
    if min(frame.shape[:2]) > 4 * CELLS:
        frame = np.asarray(
            cv2.resize(frame, (4 * CELLS, 4 * CELLS), interpolation=cv2.INTER_AREA), np.uint8
        )
    cells = cv2.resize(frame.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float32)
