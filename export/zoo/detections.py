"""What a detector's outputs mean: faces, each once, compared with those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.composite import Canvas

F64 = NDArray[np.float64]
SCORE, OVERLAP = 0.7, 0.3  # least score; overlap above which two boxes are one face
SAME = 0.4  # overlap at which a face is found


@dataclass(frozen=True, eq=False)
class Detections:
    """boxes [n, 4] (left, top, right, bottom), five [n, 5, 2], scores [n], the surest first."""

    boxes: F64
    five: F64
    scores: F64


def found_in(
    outputs: Sequence[NDArray[np.float32]],
    strides: Sequence[int],
    width: int,
    score: float = SCORE,
) -> Detections:
    """Read the outputs of one picture [cells, k], in the order of the graph `detect`."""
    face, quality, boxes, points = (
        outputs[i * len(strides) : (i + 1) * len(strides)] for i in range(4)
    )
    sides = np.concatenate(
        [np.full(len(x), s, np.float64) for s, x in zip(strides, face, strict=True)]
    )[:, None]
    index = np.concatenate([np.arange(len(x)) for x in face])
    across = width // sides[:, 0].astype(int)
    cells = np.stack([index % across, index // across], 1)
    scores = np.sqrt(np.concatenate(face) * np.concatenate(quality))[:, 0].astype(np.float64)
    box, places = np.concatenate(boxes), np.concatenate(points)
    chosen = scores >= score
    cells, sides, box, places = (x[chosen] for x in (cells, sides, box, places))
    centre, half = (cells + box[:, :2]) * sides, np.exp(box[:, 2:]) * sides / 2
    whole = np.concatenate([centre - half, centre + half], 1)
    five = (cells[:, None] + places.reshape(-1, 5, 2)) * sides[:, :, None]
    kept = each_once(whole, scores[chosen])
    return Detections(whole[kept], five[kept], scores[chosen][kept])


def each_once(boxes: F64, scores: F64) -> list[int]:
    """Return the rows that no surer one overlaps, the surest first."""
    kept: list[int] = []
    for i in np.argsort(-scores):
        if not kept or (overlaps(boxes[i], boxes[kept]) <= OVERLAP).all():
            kept.append(int(i))
    return kept


def overlaps(box: F64, others: F64) -> F64:  # [4], [n, 4] -> [n]
    """Intersection over union."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = (high - low).clip(0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    result: F64 = common / ((box[2:] - box[:2]).prod() + areas - common)
    return result


def matched(found: Sequence[Detections], canvases: Sequence[Canvas]) -> dict[str, float]:
    """Share of wanted faces that are found, false faces a canvas, error of the points.

    The error is the points' mean distance against that of the eyes, in percent.
    """
    hits, wanted, false, errors = 0, 0, 0, []
    for one, canvas in zip(found, canvases, strict=True):
        wanted += int(canvas.wanted.sum())
        taken = np.zeros(len(canvas.boxes), bool)
        for box, five in zip(one.boxes, one.five, strict=True):
            near = overlaps(box, canvas.boxes) * ~taken
            if not len(near) or near.max() < SAME:
                false += 1
                continue
            i = int(near.argmax())
            taken[i] = True
            if canvas.wanted[i]:
                hits += 1
                errors.append(100 * relative_error(five, canvas.points[i], canvas.points[i][:2]))
    return {
        "found": hits / max(1, wanted),
        "false": false / len(canvases),
        "error": float(np.mean(errors)) if errors else float("nan"),
    }


def relative_error(found: F64, wanted: F64, eyes: F64) -> float:
    """Mean distance of points [K, 2], against the distance of the eyes [2, 2]."""
    return float(np.hypot(*(found - wanted).T).mean() / np.hypot(*(eyes[1] - eyes[0])))
