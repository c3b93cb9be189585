"""Which clusters of a generator's features are which parts of a face, by 68 landmarks.

Collins et al. 2020 name clusters by hand. Here a part is a region of the picture, drawn round its
landmarks, and a cluster belongs to the region that most of its pixels lie in.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

PARTS = ("eyes", "brows", "nose", "mouth", "skin", "hair", "background")
FEATURES = PARTS[:4]
# Points of iBUG 300-W whose hulls make a part.
HULLS = {
    "brows": (range(17, 22), range(22, 27)),
    "eyes": (range(36, 42), range(42, 48)),
    "nose": (range(27, 36),),
    "mouth": (range(48, 68),),
}
FACE = range(27)  # jaw and brows
# Of the distance of the eyes: landmarks run along a part's edge, and what draws it goes round it.
MARGINS = {"brows": 0.05, "eyes": 0.15, "nose": 0.1, "mouth": 0.1}
FOREHEAD = 0.7  # from the brows up
HAIR = (1.4, 2.05)  # from the face's middle to its end, aside and up, of half the face's width


def regions(landmarks: F64, size: int) -> U8:  # [68, 2] -> [size, size]
    """Return the part of every pixel, as its place in PARTS.

    landmarks: in pixels of a picture of size x size. Raises InputError for other than 68 points.
    """
    if landmarks.shape != (68, 2):
        raise InputError(
            f"parts are named by 68 landmarks, not {len(landmarks)}",
            hint="Take a detector that gives 68: mien's own does",
        )
    scale = 8  # parts are drawn finer than they are asked for, since eyes have few pixels
    points = (landmarks + 0.5) * scale
    eyes = float(np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))
    middle = points[FACE].mean(0)
    half = np.ptp(points[FACE, 0]) / 2
    canvas = np.full((size * scale, size * scale), PARTS.index("background"), np.uint8)
    centre = (int(middle[0]), int(middle[1]))
    reach = (int(half * HAIR[0]), int(half * HAIR[1]))
    cv2.ellipse(canvas, centre, reach, 0, 180, 360, PARTS.index("hair"), -1)
    cv2.rectangle(
        canvas, (centre[0] - reach[0], centre[1]), (centre[0] + reach[0], int(points[8, 1])),
        PARTS.index("hair"), -1,
    )  # fmt: skip
    raised = points[17:27] - np.array([0, FOREHEAD * eyes])
    _fill(canvas, np.concatenate([points[list(FACE)], raised]), 0.0, "skin")
    for part, margin in MARGINS.items():
        for hull in HULLS[part]:
            _fill(canvas, points[list(hull)], margin * eyes, part)
    small: U8 = canvas.reshape(size, scale, size, scale)[:, scale // 2, :, scale // 2]
    return small


def _fill(canvas: U8, points: F64, margin: float, part: str) -> None:
    """Paint the hull of points [M, 2], wider by a margin in px, with a part's number."""
    hull = cv2.convexHull(np.rint(points).astype(np.int32))
    number = PARTS.index(part)
    cv2.fillPoly(canvas, [hull], number)
    if margin >= 1:
        cv2.polylines(canvas, [hull], True, number, 2 * round(margin))


def overlap(labels: NDArray[np.int64], places: U8, count: int) -> F64:  # [..., r, r] each
    """Return how many pixels of each cluster lie in each part, [count, len(PARTS)]."""
    together = np.zeros((count, len(PARTS)))
    np.add.at(together, (labels.ravel(), places.ravel()), 1)
    return together


def proposed(together: F64) -> dict[str, tuple[int, ...]]:  # [K, len(PARTS)]
    """Return clusters by the part that most of each one's pixels lie in.

    A feature that is the most of none takes the cluster that has the greatest share in it.
    """
    share = together / np.maximum(together.sum(1, keepdims=True), 1)
    owner = share.argmax(1)
    for part in FEATURES:
        i = PARTS.index(part)
        if i not in owner:
            free = [k for k in range(len(owner)) if PARTS[owner[k]] not in FEATURES]
            if free:
                owner[max(free, key=lambda k: share[k, i])] = i
    found = {part: tuple(np.flatnonzero(owner == i).tolist()) for i, part in enumerate(PARTS)}
    return {part: clusters for part, clusters in found.items() if clusters}


def checked(parts: Mapping[str, tuple[int, ...]], count: int) -> dict[str, tuple[int, ...]]:
    """Return parts, each cluster at most once and none that does not exist. Raises InputError."""
    seen: set[int] = set()
    for name, clusters in parts.items():
        if not name.isprintable() or not name.strip() or not clusters:
            raise InputError(f"part {name!r} has no clusters or no name", hint="As in eyes=3,7")
        for cluster in clusters:
            if not 0 <= cluster < count:
                raise InputError(
                    f"part {name} has cluster {cluster}, and there are {count}, from 0",
                )
            if cluster in seen:
                raise InputError(f"cluster {cluster} is of two parts", hint="Give it to one")
            seen.add(cluster)
    return {name: tuple(int(k) for k in clusters) for name, clusters in parts.items()}
