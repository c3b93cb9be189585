"""Points of a face in a photograph, and what alignment needs of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.whole_files import write_whole

F64 = NDArray[np.float64]
COUNTS = (5, 68)
MAX_BYTES = 1 << 20  # of a file; 68 points take a few thousand


@dataclass(frozen=True)
class Anchors:
    """What a face is placed by, each [2], x and y in px; left and right as in the picture."""

    eye_left: F64
    eye_right: F64
    nose: F64
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
        """Return eye centres, nose tip and mouth corners."""
        p = self.points
        if len(p) == 5:
            return Anchors(*p)
        # Ionov's alignment and NVlabs' recipe: eyes are the means of their six contour points.
        return Anchors(p[36:42].mean(0), p[42:48].mean(0), p[30], p[48], p[54])

    def save(self, path: str | Path) -> Path:
        """Write as JSON: {"points": [[x, y], ...]}. Raises InputError where it cannot be."""
        return write_json({"points": self.points.round(3).tolist()}, path)


def write_json(record: object, path: str | Path) -> Path:
    """Write a record; what stood at path stays until the new file is whole."""
    return write_whole(path, json.dumps(record) + "\n")


def read_landmarks(path: str | Path) -> Landmarks:
    """Read landmarks from .json (a list of points, or {"points": ...}), .npy, or rows of text.

    Raises CorruptFile where the file cannot be read, InputError for wrong points.
    """
    path = Path(path)
    try:
        return Landmarks(np.asarray(_points(path), np.float64))
    except InputError as error:
        raise InputError(f"{shown(path)}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptFile(
            f"{shown(path)} holds no landmarks: {' '.join(str(error).split())}",
            hint="Write one row a point: x y",
        ) from error


def as_landmarks(given: Landmarks | str | Path) -> Landmarks:
    """Return landmarks, read from a file where one is named. Raises what `read_landmarks` does."""
    return given if isinstance(given, Landmarks) else read_landmarks(given)


def _points(path: Path) -> ArrayLike:
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    if path.suffix == ".npy":
        # Mapped, not read: a header may promise more than there is.
        return np.lib.format.open_memmap(path, mode="r")
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        content = json.loads(text)
        points: ArrayLike = content["points"] if isinstance(content, dict) else content
        return points
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    return [[float(value) for value in row] for row in rows if row and not row[0].startswith("#")]
