"""Figures of a bundle of faces on the portraits that no training saw, beside its teachers'.

A teacher's points depend on the size it sees the face at, and on left and right: one look differs
from another by some percent. What a network is held against is the mean of many looks; how far one
look of the teacher is from it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_engines import Engine
from zoo.detections import Detections, found_in, overlaps, relative_error
from zoo.labels import MIRRORED_5, MIRRORED_68, Teachers, crop_matrix, cropped
from zoo.warps import inverse, moved

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

LONGEST = 960  # px at which `align` has YuNet look
LOOKS = (512, 448, 384, 320, 256)  # px of the portrait's side at which the teacher looks
EYES = (slice(36, 42), slice(42, 48))  # contours of the eyes among 68 points
SAME = 0.4  # overlap at which two boxes are the same face


def at_most(picture: U8, longest: int) -> U8:
    """Scale a picture down to at most longest px."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1:
        return picture
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def detect(engine: Engine, picture: U8) -> Detections:
    """Find faces, as `align` does; in px of picture."""
    properties = engine.bundle.spec.properties
    strides, longest = properties["strides"], properties["longest"]
    assert isinstance(strides, list)
    assert isinstance(longest, int)
    small = at_most(picture, longest)
    steps = [int(s) for s in strides]
    after = [(0, -size % steps[-1]) for size in small.shape[:2]]
    padded = np.pad(small, [*after, (0, 0)])
    image = np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
    outputs = engine.run("detect", input=image)
    values = [outputs[f"{p}_{s}"][0] for p in ("cls", "obj", "bbox", "kps") for s in steps]
    found = found_in(values, steps, padded.shape[1])
    back = np.array([picture.shape[k] / small.shape[k] for k in (1, 0)])
    return Detections(found.boxes * np.tile(back, 2), found.five * back, found.scores)


def look_closer(engine: Engine, picture: U8, box: F64) -> F64:  # [68, 2]
    """Return the 68 points of the face in box."""
    size = int(engine.bundle.graph("landmarks").inputs[0].shape[1])
    matrix = crop_matrix(box, side=size)
    points = engine.run("landmarks", picture=cropped(picture, matrix, size)[None])["landmarks"][0]
    return moved(points.astype(np.float64), inverse(matrix))


@dataclass(frozen=True, eq=False)
class Reference:
    """What the teachers see in a portrait: boxes, 5 and 68 points of each look, and their means."""

    box: F64
    five: F64  # [looks, 5, 2]
    many: F64  # [looks, 68, 2]
    single: F64  # [5, 2], the teacher at the size of `align`, once

    @property
    def eyes_5(self) -> F64:
        return np.asarray(self.five.mean(0)[:2])

    @property
    def eyes_68(self) -> F64:
        return np.stack([self.many.mean(0)[eye].mean(0) for eye in EYES])


def reference(teachers: Teachers, picture: U8) -> Reference:
    """Look at a portrait, as it is and mirrored, at all sizes of LOOKS."""
    boxes, five, many = [], [], []
    for side in LOOKS:
        seen = at_most(picture, side)
        scale = picture.shape[0] / seen.shape[0]
        flip = np.array([[-1.0, 0, seen.shape[1]], [0, 1, 0]])
        own = teachers.detect(seen)[0]
        mirrored = np.ascontiguousarray(seen[:, ::-1])
        other = teachers.detect(mirrored)[0]
        boxes.append(own[:4] * scale)
        five.append(own[4:14].reshape(5, 2) * scale)
        five.append(moved(other[4:14].reshape(5, 2)[MIRRORED_5], flip) * scale)
        many.append(teachers.points(seen, own[:4]) * scale)
        many.append(moved(teachers.points(mirrored, other[:4])[MIRRORED_68], flip) * scale)
    large = at_most(picture, LONGEST)
    single = teachers.detect(large)[0, 4:14].reshape(5, 2) * picture.shape[0] / large.shape[0]
    return Reference(np.mean(boxes, 0), np.array(five), np.array(many), single)


def portraits(folder: Path) -> Iterator[U8]:
    """Yield the pictures of a folder, RGB."""
    for path in sorted(folder.iterdir()):
        yield np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


def figures(engine: Engine, teachers: Teachers, folder: Path) -> dict[str, float]:
    """Measure a bundle on a folder of portraits with one face each. Errors in percent."""
    count, found, false, rows = 0, 0, 0, []
    for picture in portraits(folder):
        count += 1
        truth = reference(teachers, picture)
        seen = detect(engine, picture)
        near = overlaps(truth.box, seen.boxes) if len(seen.boxes) else np.zeros(0)
        if not len(near) or near.max() < SAME:
            false += len(near)
            continue
        found, false = found + 1, false + len(near) - 1
        best = int(near.argmax())
        rows.append(_errors(truth, seen.five[best], look_closer(engine, picture, seen.boxes[best])))
    means, worst = np.mean(rows, 0), np.max(rows, 0)
    names = ("5 points", "teacher's look, 5", "teacher at 960, 5", "5 to teacher at 960",
             "68 points", "teacher's look, 68")  # fmt: skip
    return {
        "portraits": count,
        "found": found,
        "false": false,
        **dict(zip(names, means.tolist(), strict=True)),
        **{f"{name}, worst": float(value) for name, value in zip(names, worst, strict=True)},
    }


def _errors(truth: Reference, five: F64, many: F64) -> Sequence[float]:
    mean_5, mean_68 = truth.five.mean(0), truth.many.mean(0)
    looks_5 = [relative_error(x, mean_5, truth.eyes_5) for x in truth.five]
    looks_68 = [relative_error(x, mean_68, truth.eyes_68) for x in truth.many]
    return [
        100 * relative_error(five, mean_5, truth.eyes_5),
        100 * float(np.mean(looks_5)),
        100 * relative_error(truth.single, mean_5, truth.eyes_5),
        100 * relative_error(five, truth.single, truth.eyes_5),
        100 * relative_error(many, mean_68, truth.eyes_68),
        100 * float(np.mean(looks_68)),
    ]
