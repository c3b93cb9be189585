"""What lamps, cameras and files do to a picture: colour, blur, noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Random = np.random.Generator

GRAIN = 1024  # px of the tile that noise is cut from


class Camera:
    """Takes pictures in a light, with a lens, a sensor and a file of its own each time."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.grain = random.standard_normal((GRAIN, GRAIN, 3), np.float32)

    def take(self, picture: U8) -> U8:  # [H, W, 3]
        picture = self._coloured(picture)
        chance = self.random.random()
        if chance < 0.25:
            picture = _blurred(picture, self.random.uniform(0.4, 1.6))
        elif chance < 0.5:
            more = self.random.uniform(0.3, 1.5)
            smooth = _blurred(picture, self.random.uniform(0.7, 1.5))
            picture = np.asarray(cv2.addWeighted(picture, 1 + more, smooth, -more, 0), np.uint8)
        if self.random.random() < 0.35:
            picture = self._noisy(picture)
        return self._packed(picture) if self.random.random() < 0.4 else picture

    def _coloured(self, picture: U8) -> U8:
        if self.random.random() < 0.1:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
        if self.random.random() < 0.3:
            slope = self._slope(picture.shape[0], picture.shape[1])
            picture = (picture * slope).clip(0, 255).astype(np.uint8)
        gains = np.exp(self.random.normal(0, 0.2) + self.random.normal(0, 0.08, 3))
        middle, contrast = picture[::4, ::4].mean(), self.random.uniform(0.6, 1.3)
        levels = ((np.arange(256) - middle) * contrast + middle)[:, None] * gains
        return np.asarray(cv2.LUT(picture, levels.clip(0, 255).astype(np.uint8)[None]), np.uint8)

    def _slope(self, height: int, width: int) -> F32:  # [H, W, 1]
        """Light from one side."""
        angle, depth = self.random.uniform(0, 2 * np.pi), self.random.uniform(0.1, 0.6)
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
        slope = 1 + depth * (np.cos(angle) * x + np.sin(angle) * y) / 1.5
        return slope.astype(np.float32)[:, :, None]

    def _noisy(self, picture: U8) -> U8:
        height, width = picture.shape[:2]
        top, left = (self.random.integers(GRAIN - n + 1) for n in (height, width))
        grain = self.grain[top : top + height, left : left + width]
        noisy = picture + np.float32(self.random.uniform(1, 12)) * grain
        return noisy.clip(0, 255).astype(np.uint8)

    def _packed(self, picture: U8) -> U8:
        quality = int(self.random.integers(25, 95))
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _blurred(picture: U8, sigma: float) -> U8:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(sigma)), np.uint8)
