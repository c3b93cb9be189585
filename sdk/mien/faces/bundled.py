"""A detector in a bundle of family `faces`: the graph `detect`, and `landmarks` where it has one.

Networks of YuNet's kind (Wu et al. 2023) answer for each cell of three grids; the search among the
cells is here. `landmarks` then looks at each face closer and gives 68 points for the five.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import mien_engines
from mien.errors import ArchMismatch, InputError
from mien.faces.align import MAX_REACH
from mien.faces.found import (
    F64,
    LONGEST,
    OVERLAP,
    SCORE,
    U8,
    DetectedFace,
    face_from_row,
    no_face,
    ordered,
    scaled_down,
)
from mien.faces.landmarks import Landmarks
from mien_engines.bundle import Bundle

FAMILY = "faces"
FLOOR = 0.05  # cells of a lower score are not looked at
CANDIDATES = 5000  # the surest cells, among which faces are told apart
CROP = 1.2  # side of the square that `landmarks` looks at, over the longer side of the box


class BundledDetector:
    """Finds faces with a bundle's graphs.

    backend, threads: as `mien_engines.open` takes them. The reference serves by default: to measure
    which is the fastest takes longer than to search a photograph.

    Raises ArchMismatch for a bundle of another family, or one that finds no faces.
    """

    def __init__(
        self, path: Path, *, backend: str | None = "ort", threads: int | None = None
    ) -> None:
        bundle = Bundle.open(path)
        spec = bundle.spec
        if spec.family != FAMILY or "detect" not in spec.graphs:
            has = ", ".join(sorted(spec.graphs))
            raise ArchMismatch(
                f"bundle {spec.name} is of family {spec.family} and has the graphs {has}; a "
                f"detector is of family {FAMILY} and has the graph detect",
                hint="Make one: mien export faces YUNET.onnx -o BUNDLE",
            )
        self._engine = mien_engines.open(bundle, backend, threads=threads)
        self._strides: list[int] = _numbers(bundle, "strides")
        self._longest = _longest(bundle)
        self._is_bgr = spec.properties.get("colour", "BGR") == "BGR"

    def detect(self, photo: U8) -> list[DetectedFace]:
        """Return the faces of photo [H, W, 3], RGB, from left to right. Raises NoFace."""
        spec = self._engine.bundle.graph("detect").inputs[0]
        height, width = spec.shape[2:]
        small = scaled_down(
            photo,
            width if isinstance(width, int) else self._longest,
            height if isinstance(height, int) else self._longest,
        )
        padded = self._padded(small, height, width)
        picture = padded[:, :, ::-1] if self._is_bgr else padded
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        outputs = self._engine.run("detect", **{spec.name: planes})
        rows = told_apart(rows_from_cells(outputs, self._strides, padded.shape[1]))
        ratio = np.array([photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0]])
        found = [face_from_row(row, ratio) for row in rows if row[14] >= SCORE]
        faces = ordered([face for face in found if face is not None])
        if not faces:
            raise no_face(photo, float(rows[:, 14].max()) if len(rows) else None)
        if "landmarks" in self._engine.bundle.spec.graphs:
            return [self._looked_closer(photo, face) for face in faces]
        return faces

    def close(self) -> None:
        """Free what the engine holds."""
        self._engine.close()

    def _padded(self, picture: U8, height: int | str, width: int | str) -> U8:
        """Continue the picture with black, right and below, to what the graph takes."""
        step = max(self._strides)
        sizes = [
            wanted if isinstance(wanted, int) else -(-found // step) * step
            for wanted, found in zip((height, width), picture.shape[:2], strict=True)
        ]
        after = [(0, wanted - found) for wanted, found in zip(sizes, picture.shape, strict=False)]
        return np.pad(picture, [*after, (0, 0)])

    def _looked_closer(self, photo: U8, face: DetectedFace) -> DetectedFace:
        """The same face with the points of the graph `landmarks`, where those are a face."""
        spec = self._engine.bundle.graph("landmarks").inputs[0]
        properties = self._engine.bundle.spec.properties
        crop = properties.get("crop", CROP)
        assert isinstance(crop, int | float)
        left, top, width, height = face.box
        side = max(1, round(crop * max(width, height)))
        if side > MAX_REACH * max(photo.shape):
            return face
        corner = np.rint([left + width / 2 - side / 2, top + height / 2 - side / 2]).astype(int)
        resolution = int(spec.shape[1])
        picture = cv2.resize(
            _square(photo, int(corner[0]), int(corner[1]), side),
            (resolution, resolution),
            interpolation=cv2.INTER_AREA if side > resolution else cv2.INTER_LINEAR,
        )
        points = self._engine.run("landmarks", **{spec.name: picture[None]})["landmarks"][0]
        try:
            landmarks = Landmarks(points.astype(np.float64) * (side / resolution) + corner)
        except InputError:
            return face
        return DetectedFace(face.box, face.score, landmarks)


def rows_from_cells(outputs: Mapping[str, NDArray[Any]], strides: list[int], width: int) -> F64:
    """Return what the cells claim, [n, 15]: box, five points, score; unsure cells are left out.

    A cell at column c and row r of a stride s: the score is sqrt(cls * obj), the box's centre is
    (c + dx, r + dy) * s and its sides exp(dw, dh) * s, points are (c + px, r + py) * s.
    """
    rows = []
    for stride in strides:
        cls, obj, box, points = (
            outputs[f"{part}_{stride}"][0].astype(np.float64)
            for part in ("cls", "obj", "bbox", "kps")
        )
        score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))[:, 0]
        (index,) = np.nonzero(score >= FLOOR)
        cell = np.stack([index % (width // stride), index // (width // stride)], axis=1)
        centre = (cell + box[index, :2]) * stride
        sides = np.exp(box[index, 2:].clip(None, 20)) * stride  # e^20 is larger than any picture
        places = (np.tile(cell, 5) + points[index]) * stride
        rows.append(np.concatenate([centre - sides / 2, sides, places, score[index, None]], axis=1))
    return np.concatenate(rows)


def told_apart(rows: F64) -> F64:
    """Keep of overlapping boxes the surest: [n, 15] -> [m, 15], the surest first."""
    rows = rows[np.argsort(-rows[:, 14], kind="stable")][:CANDIDATES]
    low, high = rows[:, :2], rows[:, :2] + rows[:, 2:4]
    area = rows[:, 2:4].prod(1)
    left = np.arange(len(rows))
    kept = []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(best)
        common = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
        shared = common.clip(0).prod(1)
        left = rest[shared <= OVERLAP * (area[best] + area[rest] - shared)]
    surest: F64 = rows[np.array(kept, int)]
    return surest


def _square(photo: U8, left: int, top: int, side: int) -> U8:
    """The square of photo at these px, black where it reaches beyond."""
    height, width = photo.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, width), min(top + side, height)
    square = np.zeros((side, side, 3), np.uint8)
    if x0 < x1 and y0 < y1:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = photo[y0:y1, x0:x1]
    return square


def _longest(bundle: Bundle) -> int:
    """The side in px to which photographs are scaled down, where the bundle states none LONGEST."""
    value = bundle.spec.properties.get("longest", LONGEST)
    if not isinstance(value, int) or value < 1:
        raise ArchMismatch(f"bundle {bundle.name} states a longest side of {value}, expected px")
    return value


def _numbers(bundle: Bundle, name: str) -> list[int]:
    value = bundle.spec.properties.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(v, int) for v in value):
        raise ArchMismatch(f"bundle {bundle.name} does not state its {name}")
    return [int(v) for v in value]
