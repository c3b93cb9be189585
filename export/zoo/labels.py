"""What the teachers find in the faces: a box and 5 points (YuNet), 68 points (PFLD).

    python -m zoo.labels --data DATA --out labels.npz

A teacher sees each face as it is and mirrored, PFLD also in a wider crop, and the label is the
mean: what differs between them is the teacher's, not the face's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from mien_engines.errors import MissingDependency
from zoo.composite import Face, shrunk
from zoo.faces import learnt_and_held, load_pictures
from zoo.warps import inverse, moved, placing, turned_box, warped

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

CROP, SIDE = 1.2, 112  # of the face's longer side, px: what PFLD was trained on
WIDER = 1.3
SEEN = 256  # px of the pictures that YuNet sees: it is at its best with faces of about half
SURE = 0.6  # least score of a label
DOUBTFUL = 0.3  # score at which a painting is taken to show a face

# Points that change places in a mirror, as rows of the five and of iBUG's 68.
MIRRORED_5 = np.array([1, 0, 2, 4, 3])
MIRRORED_68 = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31), *range(35, 30, -1),  # nose: bridge, wings
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),  # lips
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Labels:
    """Of N faces, in px of each one's own picture, x and y; a box is left, top, right, bottom.

    learnt, held: rows to train on, and rows to measure on.
    """

    boxes: F64  # [N, 4]
    five: F64  # [N, 5, 2]
    many: F64  # [N, 68, 2]
    learnt: NDArray[np.int64]
    held: NDArray[np.int64]


class Teachers:
    """YuNet through OpenCV, PFLD through ONNX Runtime."""

    def __init__(self, data: Path, score: float = SURE) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependency(
                "labels need onnxruntime", hint="Install it: pip install 'mien[cpu]'"
            ) from error
        folder = data / "weights/face_det"
        self.yunet = cv2.FaceDetectorYN.create(
            str(folder / "yunet_n_dynamic.onnx"), "", (SEEN, SEEN), score, 0.3
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.pfld = onnxruntime.InferenceSession(
            str(folder / "pfld_68.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def detect(self, picture: U8) -> F64:  # [H, W, 3], RGB -> [n, 15]
        """Return box (left, top, right, bottom), five points, score of each face, surest first."""
        self.yunet.setInputSize(picture.shape[1::-1])
        _, rows = self.yunet.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        if rows is None:
            return np.zeros((0, 15))
        rows = rows[np.argsort(-rows[:, 14])].astype(np.float64)
        rows[:, 2:4] += rows[:, :2]
        return np.asarray(rows)

    def points(self, picture: U8, box: F64, wide: float = CROP) -> F64:  # [68, 2]
        """Return the 68 points of the face in box, in px of picture."""
        matrix = crop_matrix(box, wide)
        crop = cropped(picture, matrix)
        image = (crop.transpose(2, 0, 1)[None] / 255).astype(np.float32)
        (found,) = self.pfld.run(None, {self.pfld.get_inputs()[0].name: image})
        return moved(found.reshape(68, 2) * SIDE, inverse(matrix))


def crop_matrix(box: F64, wide: float = CROP, side: int = SIDE) -> F64:
    """2x3, from px of the picture to those of the square crop around box [4]."""
    scale = side / (wide * max(box[2:] - box[:2]))
    return placing((box[:2] + box[2:]) / 2, np.full(2, side / 2), scale)


def cropped(picture: U8, matrix: F64, side: int = SIDE) -> U8:
    """Cut the square out that matrix moves to the crop; black where the picture ends."""
    return warped(*shrunk(picture, matrix), (side, side)).astype(np.uint8)


def label(data: Path, kept: Path) -> Labels:
    """Return the labels of all faces; kept has them once they were made."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _label_all(data, kept)
    with np.load(kept) as file:
        boxes, five, many, sure = (file[name] for name in ("boxes", "five", "many", "sure"))
    learnt, held = (part[sure[part]] for part in learnt_and_held(data))
    return Labels(boxes, five, many, learnt, held)


def labelled_faces(
    data: Path, kept: Path, points: Literal["five", "many"]
) -> tuple[list[Face], list[Face]]:
    """Return the faces to learn from, and those held out."""
    labels = label(data, kept)
    chosen = getattr(labels, points)
    faces = [Face(*parts) for parts in zip(load_pictures(data), labels.boxes, chosen, strict=True)]
    return [faces[i] for i in labels.learnt], [faces[i] for i in labels.held]


def paintings(data: Path) -> list[U8]:
    """Return the pictures of images/styles in which the teacher sees no face."""
    teachers = Teachers(data, DOUBTFUL)
    found = []
    for path in sorted((data / "images/styles").iterdir()):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        scale = min(1.0, 640 / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if not len(teachers.detect(small)):
            found.append(small.astype(np.uint8))
    return found


def _label_all(data: Path, kept: Path) -> None:
    teachers = Teachers(data)
    rows = [
        _labelled(teachers, picture) for picture in track(list(load_pictures(data)), "labelling")
    ]
    boxes, five, many = (np.stack([row[i] for row in rows]) for i in range(3))
    sure = ~np.isnan(boxes).any(1)
    partial = kept.with_suffix(".part.npz")
    np.savez(partial, boxes=boxes, five=five, many=many, sure=sure)
    partial.replace(kept)


def _labelled(teachers: Teachers, picture: U8) -> tuple[F64, F64, F64]:
    """Box, 5 and 68 points; NaN where a view shows no face."""
    scale = SEEN / picture.shape[0]
    seen = cv2.resize(picture, (SEEN, SEEN), interpolation=cv2.INTER_LINEAR)
    mirror = np.array([[-1.0, 0, SEEN], [0, 1, 0]])
    views = []
    for view, back in ((seen, np.eye(2, 3)), (np.ascontiguousarray(seen[:, ::-1]), mirror)):
        found = teachers.detect(view)
        if not len(found):
            return np.full(4, np.nan), np.full((5, 2), np.nan), np.full((68, 2), np.nan)
        box, five = found[0, :4], found[0, 4:14].reshape(5, 2)
        many = (teachers.points(view, box) + teachers.points(view, box, WIDER)) / 2
        if back is mirror:
            five, many = five[MIRRORED_5], many[MIRRORED_68]
        views.append((turned_box(box, back), moved(five, back), moved(many, back)))
    box, five, many = ((a + b) / 2 / scale for a, b in zip(*views, strict=True))
    return box, five, many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and weights/")
    parser.add_argument("--out", type=Path, required=True, help="file of the labels, .npz")
    options = parser.parse_args()
    labels = label(options.data, options.out)
    print(f"{len(labels.learnt)} faces to train on, {len(labels.held)} held out")


if __name__ == "__main__":
    main()
