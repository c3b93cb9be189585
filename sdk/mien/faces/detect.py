"""Faces in a photograph, found by a YuNet network that the caller names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import AmbiguousFace, CorruptFile, InputError, NoFace
from mien.faces.landmarks import Landmarks

Which = Literal["only", "largest"] | int

LONGEST = 960  # px: a face that fills a tenth of it is still found, and it takes tens of ms
SCORE, OVERLAP = 0.7, 0.3  # least score; overlap above which two boxes are one face


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """box: left, top, width, height in px of the photograph. score: 0..1. landmarks: five."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]


class Detector:
    """YuNet (Wu et al. 2023) through OpenCV. Raises CorruptFile where the file is no such net."""

    def __init__(self, path: str | Path, *, score: float = SCORE) -> None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no detector file {path}", hint="Name a YuNet ONNX file")
        try:
            with _quiet():
                self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), score, OVERLAP)
        except cv2.error as error:
            raise CorruptFile(
                f"{path} is not a YuNet network: {' '.join(str(error).split())}",
                hint="Name a YuNet ONNX file",
            ) from error

    def detect(self, photo: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces of photo [H, W, 3], RGB, the surest first. Raises NoFace."""
        height, width = photo.shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        _, rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None or not len(rows):
            raise NoFace(
                f"no face was found in a picture of {width} x {height} px",
                hint="Give landmarks, or a picture where the face is larger",
            )
        ratio = np.array([width / size[0], height / size[1]])
        return [_face(row.astype(np.float64), ratio) for row in rows]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's remarks about its own engine from the user's terminal."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _face(row: NDArray[np.float64], ratio: NDArray[np.float64]) -> DetectedFace:
    """YuNet's row: box, then eyes, nose and mouth corners, the picture's left ones first; score."""
    box = row[:4] * np.tile(ratio, 2)
    points = row[4:14].reshape(5, 2) * ratio
    return DetectedFace(tuple(box.tolist()), float(row[14]), Landmarks(points))


def choose(faces: Sequence[DetectedFace], which: Which) -> DetectedFace:
    """Return the face that is meant: "only" one, the "largest", or one by number from 0.

    Raises NoFace, AmbiguousFace where "only" meets several, InputError for another word.
    """
    if not faces:
        raise NoFace("no face was found", hint="Give landmarks")
    if which == "largest":
        return max(faces, key=lambda face: face.area)
    if isinstance(which, int):
        if not 0 <= which < len(faces):
            raise InputError(f"there is no face {which}: {len(faces)} were found, from 0")
        return faces[which]
    if which != "only":
        raise InputError(f"face {which!r} is not understood", hint="only, largest, or a number")
    if len(faces) > 1:
        boxes = "; ".join(" ".join(f"{v:.0f}" for v in face.box) for face in faces)
        raise AmbiguousFace(
            f"{len(faces)} faces were found (left top width height): {boxes}",
            hint="Choose: which='largest' or a number (--face largest, --face 0)",
        )
    return faces[0]
