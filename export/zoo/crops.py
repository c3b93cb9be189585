"""Random crops of pictures of all kinds: faces, portraits, paintings, textures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.faces import as_images, load_faces
from zoo.split import split

U8 = NDArray[np.uint8]
FOLDERS = ("styles", "portraits512", "lpips")
LEAST, MOST = 0.25, 1.0  # of the shorter side of a picture that a crop takes
JITTER = 0.25  # of a channel's gain


class Crops:
    """Batches of square crops, turned, mirrored and recoloured.

    faces: the share of crops that are of faces. Held-out faces are never among them.
    """

    def __init__(self, data: Path, side: int, size: int, seed: int, faces: float = 0.4) -> None:
        everyone = load_faces(data, 128)
        self.faces = everyone[split(len(everyone))[0]]
        self.pictures = [
            cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
            for folder in FOLDERS
            for path in sorted((data / "images" / folder).iterdir())
            if path.suffix in (".jpg", ".png")
        ]
        self.side, self.size, self.share = side, size, faces
        self.random = np.random.default_rng(seed)

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
        gains = 1 + JITTER * self.random.uniform(-1, 1, 3)
        coloured = np.clip(crop * gains, 0, 255).astype(np.uint8)
        return coloured[:, ::-1] if self.random.random() < 0.5 else coloured
