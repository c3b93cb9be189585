"""What may make a crop a poor one: told to the caller, who decides."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.landmarks import Landmarks

F64 = NDArray[np.float64]
Flag = Literal["small", "cut off", "profile", "mirrored"]

ENLARGED = 2.0  # the crop has so many times the pixels of the photograph, along a side
OUTSIDE = 0.1  # of the square's area
NOSE = (0.2, 0.8)  # where the nose stands between the eyes; 0.5 is a face seen from the front
NARROW = 0.5  # eye to eye, over eyes to mouth; FFHQ's faces are at about 1

MEANINGS: dict[Flag, str] = {
    "small": f"drawn more than {ENLARGED:.0f} times larger than it is in the photograph",
    "cut off": f"more than {OUTSIDE:.0%} of the square lie outside the photograph",
    "profile": "seen from the side",
    "mirrored": "eyes or mouth corners are swapped: left is the left side of the picture",
}


def flags_of(
    landmarks: Landmarks,
    quad: F64,  # [4, 2]
    photo_size: tuple[int, int],  # width, height
    size: int,
) -> tuple[Flag, ...]:
    """Return what may make the crop of this square, drawn at size px, a poor one."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    found: dict[Flag, bool] = {
        "small": size > ENLARGED * side,
        "cut off": _outside(quad, photo_size) > OUTSIDE,
        "profile": _is_profile(landmarks),
        "mirrored": _is_mirrored(landmarks),
    }
    return tuple(flag for flag, is_so in found.items() if is_so)


def _outside(quad: F64, photo_size: tuple[int, int]) -> float:
    """The part of the square's area that the photograph does not cover."""
    width, height = photo_size
    frame = np.array([[0, 0], [0, height], [width, height], [width, 0]], np.float32)
    covered, _ = cv2.intersectConvexConvex((quad + 0.5).astype(np.float32), frame)
    area = float(np.sum((quad[3] - quad[0]) ** 2))
    return 1.0 - float(covered) / area


def _is_profile(landmarks: Landmarks) -> bool:
    a = landmarks.anchors()
    across = a.eye_right - a.eye_left
    down = (a.mouth_left + a.mouth_right - a.eye_left - a.eye_right) / 2
    width, height = np.hypot(*across), np.hypot(*down)
    if width < NARROW * height:
        return True
    nose = float(np.dot(a.nose - a.eye_left, across)) / float(width) ** 2
    return not NOSE[0] <= nose <= NOSE[1]


def _is_mirrored(landmarks: Landmarks) -> bool:
    """Whether the way from eye to eye, and on to the mouth, turns the wrong way round."""
    a = landmarks.anchors()
    down = (a.mouth_left + a.mouth_right - a.eye_left - a.eye_right) / 2
    turns = [x[0] * down[1] - x[1] * down[0] for x in (a.eye_right - a.eye_left,
                                                      a.mouth_right - a.mouth_left)]  # fmt: skip
    return bool(min(turns) < 0)
