"""Points of a face in a photograph, and what alignment needs of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import CorruptFile, InputError

F64 = NDArray[np.float64]
COUNTS = (5, 68)


@dataclass(frozen=True)
class Anchors:
    """What the FFHQ frame is made of, each [2], x and y in px; left and right as in the picture."""

    eye_left: F64
    eye_right: F64
    mouth_left: F64
    mouth_right: F64


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points [K, 2], x and y in px of the photograph, float64.

    K is 5 (eye left and right in the picture, nose tip, mouth corner left and right), or 68, in
    the order of the iBUG 300-W annotation.

    Raises InputError for another number of points, NaN, or eyes and mouth in one place.
    """

    points: F64

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float64)
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) not in COUNTS:
            raise InputError(
                f"landmarks have shape {points.shape}, expected [5, 2] or [68, 2]",
                hint="One row a point: x and y in px of the photograph",
            )
        if not np.isfinite(points).all():
            raise InputError("landmarks hold NaN or infinity", hint="Detect them again")
        object.__setattr__(self, "points", points)
        anchors = self.anchors()
        eyes = np.hypot(*(anchors.eye_right - anchors.eye_left))
        mouth = np.hypot(*((anchors.mouth_left + anchors.mouth_right) / 2 - anchors.eye_left))
        if max(eyes, mouth) < 1:
            raise InputError(
                "eyes and mouth are less than a pixel apart", hint="Is the face too small?"
            )

    def anchors(self) -> Anchors:
        """Return eye centres and mouth corners."""
        p = self.points
        if len(p) == 5:
            return Anchors(p[0], p[1], p[3], p[4])
        # Ionov's alignment and NVlabs' recipe: eyes are the means of their six contour points.
        return Anchors(p[36:42].mean(0), p[42:48].mean(0), p[48], p[54])

    def save(self, path: str | Path) -> Path:
        """Write as JSON: {"points": [[x, y], ...]}."""
        path = Path(path)
        path.write_text(json.dumps({"points": self.points.round(3).tolist()}) + "\n")
        return path


def read_landmarks(path: str | Path) -> Landmarks:
    """Read landmarks from .json (a list of points, or {"points": ...}), .npy, or rows of text.

    Raises CorruptFile where the file cannot be read, InputError for wrong points.
    """
    path = Path(path)
    try:
        points = _points(path)
        return Landmarks(np.asarray(points, np.float64))
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptFile(
            f"{path} holds no landmarks: {error}", hint="Write one row a point: x y"
        ) from error


def _points(path: Path) -> ArrayLike:
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        points: ArrayLike = content["points"] if isinstance(content, dict) else content
        return points
    if path.suffix == ".npy":
        array: ArrayLike = np.load(path, allow_pickle=False)
        return array
    return np.loadtxt(path, delimiter="," if "," in path.read_text() else None)
