"""Flicker: what a network draws jumps where the frame hardly changed. This holds it still.

Each picture is blended with the one before, moved along with the scene (dense optical flow: Kroeger
et al. 2016, DIS, arXiv 1603.03590), where the moved frame before agrees with the frame: there alone
the same thing is to be seen. At cuts and behind what moves away nothing agrees, and nothing is
blended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

STRONGEST = 0.9  # part of the picture before that smoothing 1 keeps
TOLERANCE = 12.0  # levels of difference at which agreement has fallen to 1/e
WINDOW = 7  # px, over which differences are averaged: noise of a single pixel is no disagreement
FLOW_SIDE = 256  # px of the shorter side at which motion is looked for; larger frames are shrunk
LEAST = 16  # px, of a side below which no motion is looked for


class Smoother:
    """Blends each picture with the one before, along the motion.

    strength: 0 does nothing, 1 keeps nine tenths of the picture before where the frames agree.

    Raises InputError for a strength beyond 0 to 1.
    """

    def __init__(self, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise InputError(f"smoothing is {strength}, expected 0 to 1")
        self._weight = STRONGEST * strength
        self._flow: Any = None
        self._frame: U8 | None = None  # [H, W, 3], the frame before
        self._shown: F32 | None = None  # [H', W', 3], the picture before, not rounded

    def __call__(self, frame: U8, picture: U8) -> U8:
        """Return the picture of a frame, smoothed. Both RGB [H, W, 3], of any two sizes."""
        if not self._weight:
            return picture
        drawn = picture.astype(np.float32)
        if self._frame is not None and self._frame.shape == frame.shape:
            assert self._shown is not None
            drawn = self._blended(frame, drawn, self._frame, self._shown)
        self._frame, self._shown = frame.copy(), drawn  # the caller may use it again
        return np.rint(drawn).astype(np.uint8)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of what the next picture depends on."""
        if self._frame is None or self._shown is None:
            return {}
        return {"smooth.frame": self._frame.copy(), "smooth.shown": self._shown.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where `state` was taken."""
        self._frame, self._shown = state.get("smooth.frame"), state.get("smooth.shown")

    def _blended(self, frame: U8, drawn: F32, before: U8, shown: F32) -> F32:
        way = self._motion(_grey(frame), _grey(before))  # [H, W, 2]
        differs = cv2.absdiff(frame, _moved(before, way)).max(2).astype(np.float32)
        differs = cv2.blur(differs, (WINDOW, WINDOW))
        agrees = np.exp(-np.square(differs / TOLERANCE))
        height, width = drawn.shape[:2]
        if frame.shape[:2] != (height, width):
            scale = np.array([width, height], np.float32) / frame.shape[1::-1]
            way = cv2.resize(way, (width, height)) * scale
            agrees = cv2.resize(agrees, (width, height))
        weight = (self._weight * agrees)[:, :, None].astype(np.float32)
        blended = drawn + weight * (_moved(shown, way.astype(np.float32)) - drawn)
        return np.asarray(blended, np.float32)

    def _motion(self, grey: U8, before: U8) -> F32:
        """Where each pixel of a frame was in the frame before: (x, y) steps [H, W, 2]."""
        if self._flow is None:
            self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
            self._flow.setUseSpatialPropagation(True)
        height, width = grey.shape
        factor = max(1, min(height, width) // FLOW_SIDE)
        if factor > 1:
            small = (width // factor, height // factor)
            grey, before = (
                cv2.resize(g, small, interpolation=cv2.INTER_AREA) for g in (grey, before)
            )
        if min(grey.shape) < LEAST:
            return np.zeros((height, width, 2), np.float32)
        way = self._flow.calc(grey, before, None)
        if factor > 1:
            way = cv2.resize(way, (width, height)) * np.float32(factor)
        return np.asarray(way, np.float32)


def _grey(picture: U8) -> U8:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _shrunk(grey: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _moved(picture: NDArray[Any], way: F32) -> NDArray[Any]:
    height, width = way.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved: NDArray[Any] = cv2.remap(
        picture, x + way[:, :, 0], y + way[:, :, 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return moved
