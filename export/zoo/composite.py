"""Canvases with faces on them whose boxes and points are known.

A face comes as its picture, aligned, with the teacher's labels; it is turned, scaled, stretched,
mirrored and laid on a background, and its labels go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.backgrounds import Backgrounds
from zoo.lighting import Camera
from zoo.warps import moved, placing, turned_box, warped

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Random = np.random.Generator

LEAST = 12.0  # px: a smaller face is neither wanted nor wrong
INSIDE = 0.6  # of a box's area that must be on the canvas; with less it is neither, too
APART = 1.35  # how much larger a box is that no other face may touch
MOST = 6  # faces on a canvas


@dataclass(frozen=True, eq=False)
class Face:
    """A picture, mirrored or not, and its labels: box (left, top, right, bottom), points [K, 2]."""

    picture: U8
    box: F64
    points: F64

    def mirrored(self, partners: NDArray[np.int64]) -> Face:
        """partners: which point each one becomes in a mirror."""
        width = self.picture.shape[1]
        flip = np.array([[-1.0, 0, width], [0, 1, 0]])
        picture = np.ascontiguousarray(self.picture[:, ::-1])
        return Face(picture, turned_box(self.box, flip), moved(self.points[partners], flip))

    @property
    def longer(self) -> float:
        return float(max(self.box[2:] - self.box[:2]))

    @property
    def centre(self) -> F64:
        return np.asarray((self.box[:2] + self.box[2:]) / 2)


@dataclass(frozen=True, eq=False)
class Canvas:
    """picture [S, S, 3]; of each face box [n, 4], points [n, K, 2], and whether it must be found.

    A face that need not be found must not be held against a detector either.
    """

    picture: U8
    boxes: F64
    points: F64
    wanted: NDArray[np.bool_]


class Compositor:
    """Draws canvases of any side."""

    def __init__(
        self,
        faces: Sequence[Face],
        partners: NDArray[np.int64],
        paintings: Sequence[U8],
        random: Random,
    ) -> None:
        self.faces, self.partners, self.random = faces, partners, random
        self.backgrounds = Backgrounds(paintings, [face.picture for face in faces], random)
        self.camera = Camera(random)

    def draw(self, side: int) -> Canvas:
        canvas = self.backgrounds.draw(side)
        placed: list[tuple[F64, F64]] = []
        for longer in self._sizes(side):
            drawn = self._lay(canvas, longer, [box for box, _ in placed])
            if drawn is not None:
                canvas, box, points = drawn
                placed.append((box, points))
        boxes = np.array([box for box, _ in placed]).reshape(-1, 4)
        points = np.array([p for _, p in placed]).reshape(len(placed), len(self.partners), 2)
        return Canvas(self.camera.take(canvas), boxes, points, _wanted(boxes, side))

    def _sizes(self, side: int) -> list[float]:
        """Longer sides of the faces, px: one large face, several of all sizes, or none."""
        chance = self.random.random()
        if chance < 0.45:
            return [float(self.random.uniform(0.3, 0.95) * side)]
        if chance < 0.9:
            count = self.random.integers(1, MOST + 1)
            low, high = np.log(0.7 * LEAST), np.log(0.5 * side)
            sizes: list[float] = np.exp(self.random.uniform(low, high, count)).tolist()
            return sorted(sizes, reverse=True)
        return []

    def pick(self) -> Face:
        face = self.faces[self.random.integers(len(self.faces))]
        return face.mirrored(self.partners) if self.random.random() < 0.5 else face

    def _lay(self, canvas: U8, longer: float, others: Sequence[F64]) -> tuple[U8, F64, F64] | None:
        """Lay a face where it touches no other; None where a few tries find no place."""
        side, face = canvas.shape[0], self.pick()
        spread = max(side / 2 - 0.35 * longer, 0.1 * side)
        for _ in range(6):
            place = side / 2 + self.random.uniform(-spread, spread, 2)
            matrix = taken(face, place, longer, self.random)
            box = turned_box(face.box, matrix)
            if not any(_touch(box, other) for other in others):
                if not others and self.random.random() < 0.25:
                    canvas = photographed(face, matrix, side, self.random)
                else:
                    cut_out(face, matrix, canvas, self.random)
                return canvas, box, moved(face.points, matrix)
        return None


def taken(face: Face, place: F64, longer: float, random: Random) -> F64:  # [2, 3]
    """How a camera that is held askew would take a face: turned, stretched, of a certain size."""
    degrees = random.normal(0, 10) if random.random() < 0.5 else random.uniform(-45, 45)
    matrix = placing(face.centre, place, longer / face.longer, float(degrees))
    stretch = np.exp(random.normal(0, 0.06))
    inner = placing(face.centre, face.centre, 1.0, float(random.uniform(0, 180)))
    # Stretched along a random axis: inner^-1 diag(stretch, 1/stretch) inner.
    turn = inner[:, :2]
    linear = matrix[:, :2] @ turn.T @ np.diag([stretch, 1 / stretch]) @ turn
    return np.column_stack([linear, place - linear @ face.centre])


def photographed(face: Face, matrix: F64, side: int, random: Random) -> U8:
    """Draw the face's picture on a canvas of its own; beyond its edges it goes on, or it fades."""
    picture, matrix = shrunk(face.picture, matrix)
    size = (side, side)
    if random.random() < 0.6:
        return warped(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    drawn = warped(picture, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    few = cv2.resize(drawn, (8, 8), interpolation=cv2.INTER_AREA)
    around = cv2.resize(few, size, interpolation=cv2.INTER_LINEAR)
    return _mixed(drawn, around, warped(_square(picture.shape[0], 0.15), matrix, size))


def cut_out(face: Face, matrix: F64, canvas: U8, random: Random) -> None:
    """Draw the face over canvas, as an oval or as the square that its picture is."""
    picture, matrix = shrunk(face.picture, matrix)
    corners = moved(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * picture.shape[0], matrix)
    low = np.floor(corners.min(0)).astype(int).clip(0, canvas.shape[0])
    high = np.ceil(corners.max(0)).astype(int).clip(0, canvas.shape[0])
    if (low >= high).any():
        return
    if random.random() < 0.6:
        scale = face.picture.shape[0] / picture.shape[0]
        mask = _oval(picture.shape[0], face.box / scale, random)
    else:
        mask = _square(picture.shape[0], float(random.choice([0.02, 0.1])))
    matrix = np.column_stack([matrix[:, :2], matrix[:, 2] - low])
    width, height = (high - low).tolist()
    drawn, weight = (warped(x, matrix, (width, height)) for x in (picture, mask))
    place = (slice(low[1], high[1]), slice(low[0], high[0]))
    canvas[place] = _mixed(drawn, canvas[place], weight)


def _mixed(drawn: U8, around: U8, weight: F32) -> U8:
    mixed = around + weight[:, :, None] * (drawn.astype(np.float32) - around)
    return mixed.astype(np.uint8)


def shrunk(picture: U8, matrix: F64) -> tuple[U8, F64]:
    """Halve the picture while it would be drawn at less than half its size, which aliases."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    while scale < 0.5:
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.column_stack([matrix[:, :2] * 2, matrix[:, 2]])
        scale *= 2
    return picture, matrix


def _square(size: int, fade: float) -> F32:
    """1 inside, falling to 0 over fade * size at the edge."""
    across = np.arange(size) + 0.5
    ramp = (np.minimum(across, size - across) / (fade * size)).clip(0, 1)
    return np.outer(ramp, ramp).astype(np.float32)


def _oval(size: int, box: F64, random: Random) -> F32:
    """1 around the face, with more or less of the hair."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * random.uniform(1.1, 1.6)
    y, x = np.ogrid[:size, :size]
    far = np.hypot((x + 0.5 - centre[0]) / half[0], (y + 0.5 - centre[1]) / half[1])
    return ((1 - far) / random.uniform(0.05, 0.3)).clip(0, 1).astype(np.float32)


def _touch(a: F64, b: F64) -> bool:
    """Whether two boxes, each grown by APART, overlap."""
    low, high = np.maximum(_grown(a)[:2], _grown(b)[:2]), np.minimum(_grown(a)[2:], _grown(b)[2:])
    return bool((high > low).all())


def _grown(box: F64) -> F64:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * APART
    return np.concatenate([centre - half, centre + half])


def _wanted(boxes: F64, side: int) -> NDArray[np.bool_]:
    inside = boxes.clip(0, side)
    area, seen = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, inside))
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
    result: NDArray[np.bool_] = (seen >= INSIDE * area) & (longer >= LEAST)
    return result
