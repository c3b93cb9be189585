"""Random crops of pictures of all kinds: faces, portraits, paintings, patterns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.faces import as_images, learnt_and_held, load_faces
from zoo.styles import draw_any

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
FOLDERS = ("styles", "portraits512", "lpips")
HELD_OUT = ("candy.jpg", "picasso.jpg")  # paintings that are never trained on
PATTERNS, PATTERN_SIDE = 64, 256  # how many are drawn, px
LEAST, MOST = 0.25, 1.0  # of the shorter side of a picture that a crop takes
JITTER = 0.25  # of a channel's gain


class Crops:
    """Batches of square crops, turned, mirrored and recoloured.

    faces: the share of crops that are of faces. Held-out faces are never among them.
    styles: crops are of paintings and patterns alone, apart from those faces, and in any colours.
    """

    def __init__(
        self,
        data: Path,
        side: int,
        size: int,
        seed: int,
        faces: float = 0.4,
        styles: bool = False,
    ) -> None:
        everyone = load_faces(data, 128)
        self.faces = everyone[learnt_and_held(data)[0]]
        self.pictures = [
            cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
            for folder in (FOLDERS[:1] if styles else FOLDERS)
            for path in sorted((data / "images" / folder).iterdir())
            if path.suffix in (".jpg", ".png") and path.name not in HELD_OUT
        ]
        self.random = np.random.default_rng(seed)
        if styles:
            self.pictures += [draw_any(self.random, PATTERN_SIDE) for _ in range(PATTERNS)]
        self.side, self.size, self.share = side, size, faces
        self.colour = self._anyhow if styles else self._jittered

    def __next__(self) -> Tensor:  # [size, 3, side, side] in [-1, 1]
        return as_images(np.stack([self._crop() for _ in range(self.size)]))

    def _crop(self) -> U8:
        if self.random.random() < self.share:
            picture = self.faces[self.random.integers(len(self.faces))]
        else:
            picture = self.pictures[self.random.integers(len(self.pictures))]
        height, width = picture.shape[:2]
        part = self.random.uniform(LEAST, MOST) * min(height, width)
        centre = (
            self.random.uniform(part / 2, width - part / 2),
            self.random.uniform(part / 2, height - part / 2),
        )
        matrix = cv2.getRotationMatrix2D(
            centre, float(self.random.uniform(-30, 30)), self.side / part
        )
        matrix[:, 2] += self.side / 2 - np.array(centre)
        crop = cv2.warpAffine(
            picture, matrix, (self.side, self.side), flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        coloured = np.clip(self.colour(crop.astype(np.float32)), 0, 255).astype(np.uint8)
        return coloured[:, ::-1] if self.random.random() < 0.5 else coloured

    def _jittered(self, crop: F32) -> F32:
        gains: F32 = (1 + JITTER * self.random.uniform(-1, 1, 3)).astype(np.float32)
        return crop * gains

    def _anyhow(self, crop: F32) -> F32:
        """Channels in any order, some inverted, and paled: colours that few paintings have."""
        mixed = crop[:, :, self.random.permutation(3)]
        inverted = self.random.random(3) < 0.25
        mixed = np.where(inverted, 255 - mixed, mixed)
        pale = self.random.uniform(0.5, 1)
        shift = self.random.uniform(0, 255 * (1 - pale))
        result: F32 = (self._jittered(mixed) * pale + shift).astype(np.float32)
        return result
