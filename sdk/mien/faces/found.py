"""Faces in a photograph, and which of them is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import AmbiguousFace, InputError, NoFace
from mien.faces.landmarks import Landmarks

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Which = Literal["only", "largest"] | int

LONGEST = 960  # px: YuNet still finds a face of 16 px in it, and takes tens of ms
SCORE, OVERLAP = 0.7, 0.3  # least score; overlap above which two boxes are one face
LISTED = 24  # boxes in a message


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """box: left, top, width, height in px of the photograph. score: 0..1. landmarks: 5 or 68."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]


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
        boxes = "; ".join(" ".join(f"{v:.0f}" for v in face.box) for face in faces[:LISTED])
        more = f" and {len(faces) - LISTED} more" if len(faces) > LISTED else ""
        raise AmbiguousFace(
            f"{len(faces)} faces were found (left top width height): {boxes}{more}",
            hint="Choose: which='largest' or a number from 0 (--face largest, --face 0), or take "
            "all (align_all, --face all)",
        )
    return faces[0]


def ordered(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Sort faces by where they stand: from left to right, and one above the other downwards."""
    return sorted(faces, key=lambda face: (face.box[0] + face.box[2] / 2, face.box[1]))


def no_face(photo: U8, best: float | None) -> NoFace:
    """The error of a photograph without a face; best: the surest that was not sure enough."""
    height, width = photo.shape[:2]
    near = "" if best is None else f"; the best guess scores {best:.2f}, {SCORE} is enough"
    return NoFace(
        f"no face was found in a picture of {width} x {height} px{near}",
        hint="Give landmarks, or a picture where the face is larger",
    )


def scaled_down(photo: U8, width: int, height: int) -> U8:
    """Scale photo to fit into width x height px, if it is larger; its shape is kept."""
    scale = min(1.0, width / photo.shape[1], height / photo.shape[0])
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    small: U8 = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return small


def face_from_row(row: F64, ratio: F64) -> DetectedFace | None:
    """YuNet's row [15]: box, then eyes, nose and mouth corners, the picture's left ones first;
    score. ratio: px of the photograph to one of the picture, x and y. None where its points are no
    face: a guess that collapsed."""
    try:
        landmarks = Landmarks(row[4:14].reshape(5, 2) * ratio)
    except InputError:
        return None
    left, top, width, height = (row[:4] * np.tile(ratio, 2)).tolist()
    return DetectedFace((left, top, width, height), float(row[14]), landmarks)
