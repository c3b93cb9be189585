"""Pictures of anything but faces, to lay faces on and to find none in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.warps import placing, warped

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
EDGE = 0.2  # of the side of an aligned face's picture: no face reaches so far into its corners


class Backgrounds:
    """Draws canvases.

    paintings: to cut pieces out of. faces: aligned ones; their corners show hair, clothes and what
    is behind them.
    """

    def __init__(
        self, paintings: Sequence[U8], faces: Sequence[U8], random: np.random.Generator
    ) -> None:
        self.paintings, self.faces, self.random = paintings, faces, random

    def draw(self, side: int) -> U8:  # [side, side, 3]
        kinds = (self._gradient, self._clouds, self._painting, self._corner, self._veil)
        canvas = kinds[self.random.integers(len(kinds))](side)
        if self.random.random() < 0.4:
            self._shapes(canvas)
        return canvas

    def colour(self) -> F32:  # [3]
        """Half of the time that of a pixel of some face's picture: skin, hair, clothes."""
        if self.random.random() < 0.5:
            return self.random.uniform(0, 255, 3).astype(np.float32)
        face = self.faces[self.random.integers(len(self.faces))]
        row, column = self.random.integers(0, face.shape[0], 2)
        return face[row, column].astype(np.float32)

    def _gradient(self, side: int) -> U8:
        small = np.stack([[self.colour() for _ in range(2)] for _ in range(2)])
        return _enlarged(small, side)

    def _clouds(self, side: int) -> U8:
        """Noise of several sizes."""
        levels = np.broadcast_to(self.colour(), (side, side, 3)).copy()
        for _ in range(int(self.random.integers(1, 4))):
            cells = int(2 ** self.random.uniform(1, np.log2(side)))
            depth = 3 if self.random.random() < 0.5 else 1
            small = self.random.normal(0, self.random.uniform(5, 50), (cells, cells, depth))
            noise = cv2.resize(small.astype(np.float32), (side, side))
            levels += noise.reshape(side, side, depth)
        return levels.clip(0, 255).astype(np.uint8)

    def _painting(self, side: int) -> U8:
        if not self.paintings:
            return self._clouds(side)
        picture = self.paintings[self.random.integers(len(self.paintings))]
        height, width = picture.shape[:2]
        part = self.random.uniform(0.15, 1) * min(height, width)
        source = np.array([self.random.uniform(part / 2, s - part / 2) for s in (width, height)])
        matrix = placing(
            source, np.full(2, side / 2), side / part, float(self.random.uniform(-180, 180))
        )
        drawn = warped(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        return drawn.astype(np.uint8)

    def _corner(self, side: int) -> U8:
        """What is beside a face, sharp as it is."""
        face = self.faces[self.random.integers(len(self.faces))]
        size = face.shape[0]
        part = max(4, round(self.random.uniform(EDGE / 2, EDGE) * size))
        row, column = (self.random.choice([0, size - part]) for _ in range(2))
        return _enlarged(face[row : row + part, column : column + part].astype(np.float32), side)

    def _veil(self, side: int) -> U8:
        """A piece of a face, so blurred that it is none."""
        face = self.faces[self.random.integers(len(self.faces))]
        cells = int(self.random.integers(2, 5))
        small = cv2.resize(face, (cells, cells), interpolation=cv2.INTER_AREA)
        return _enlarged(small.astype(np.float32), side)

    def _shapes(self, canvas: U8) -> None:
        """Ellipses, boxes and lines, some of skin's colour."""
        side = canvas.shape[0]
        for _ in range(int(self.random.integers(1, 7))):
            colour = tuple(int(v) for v in self.colour())
            centre = tuple(int(v) for v in self.random.uniform(0, side, 2))
            axes = tuple(int(v) + 1 for v in self.random.uniform(0, side / 3, 2))
            kind = self.random.integers(3)
            if kind == 0:
                turn = float(self.random.uniform(0, 180))
                cv2.ellipse(canvas, centre, axes, turn, 0, 360, colour, -1)
            elif kind == 1:
                end = (centre[0] + axes[0], centre[1] + axes[1])
                cv2.rectangle(canvas, centre, end, colour, -1)
            else:
                end = tuple(int(v) for v in self.random.uniform(0, side, 2))
                thick = int(self.random.integers(1, 2 + side // 24))
                cv2.line(canvas, centre, end, colour, thick, cv2.LINE_AA)


def _enlarged(small: F32, side: int) -> U8:
    drawn = cv2.resize(small.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(drawn).clip(0, 255).astype(np.uint8)
