"""Alignment by FAN's 98 landmarks, as StarGAN v2 was trained on: a face is laid on a mean face.

System 3, section "align": a rotation of the face's axis onto the mean face's, a scale by the
distances of eyes and mouth corners from their centroid, and a shift of that centroid. Deviations:
the mean face is this project's own unless a file of another is given, and resampling and the
continuation of the photograph are those of `mien.faces.align`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.faces.align import AlignedFace, cut
from mien.faces.landmarks import Landmarks
from mien.faces.quality import flags_of

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

COUNT = 98
# Of the WFLW annotation: contours of the eyes with their pupils, nose tip, mouth corners.
EYE_LEFT, EYE_RIGHT = (*range(60, 68), 96), (*range(68, 76), 97)
NOSE, MOUTH = 54, (76, 82)
SIZED = (96, 97, 76, 82)  # pupils and mouth corners: what the face's size is measured by
FRAME = 256  # px, of the frame that a file's mean face is in


@dataclass(frozen=True, eq=False)
class Anchored:
    """What a face is laid on another by; x and y, counted from the outer corner of a pixel.

    eyes: their middles, left and right in the picture, [2, 2]. sized: pupils and mouth corners,
    left before right, [4, 2].
    """

    eyes: F64
    sized: F64

    @property
    def axis(self) -> F64:
        """The direction across the face, as FFHQ's recipe has it: eyes and mouth decide."""
        across = self.eyes[1] - self.eyes[0]
        down = self.sized[2:].mean(0) - self.eyes.mean(0)
        x: F64 = across - np.flipud(down) * [-1, 1]
        return x


# Means over 150 faces of the demo's generator by mien's own detector, as parts of the FFHQ square;
# both sides of the face are averaged. CelebA-HQ, which StarGAN v2 learnt from, has that square too.
_EYES = np.array([[0.3775, 0.4917], [0.6225, 0.4917]])
MEAN_FACE = Anchored(_EYES, np.concatenate([_EYES, [[0.3886, 0.7416], [0.6114, 0.7416]]]))


def anchored(points: F64) -> Anchored:
    """Return what the 98 landmarks of a face say of its place."""
    eyes = np.stack([points[list(EYE_LEFT)].mean(0), points[list(EYE_RIGHT)].mean(0)])
    return Anchored(eyes, points[list(SIZED)])


def load_mean_face(path: str | Path) -> Anchored:
    """Read the mean of 98 landmarks that comes with a StarGAN v2: .npz with `mean`, of 256 px.

    Raises CorruptFile where there is none in the file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            points = np.asarray(stored["mean"], np.float64)
        if points.shape != (COUNT, 2) or not np.isfinite(points).all():
            raise ValueError(f"mean has shape {points.shape}, expected ({COUNT}, 2)")
    except Exception as error:  # a damaged archive makes NumPy's readers raise what they like
        raise CorruptFile(
            f"{shown(Path(path))} holds no mean face: {' '.join(str(error).split())}",
            hint="Name the .npz that came with the checkpoint",
        ) from error
    return anchored(points / FRAME)


def similarity(source: Anchored, target: Anchored) -> F64:  # 3x3, from source to target
    """Return the turn, scale and shift that lay source on target.

    Raises InputError where the source's points coincide.
    """
    radii = [np.linalg.norm(face.sized - face.sized.mean(0), axis=1) for face in (target, source)]
    lengths = [np.hypot(*face.axis) for face in (target, source)]
    if min(radii[1]) <= 0 or lengths[1] <= 0:
        raise InputError("FAN's landmarks span no face", hint="Use studio.align, or another photo")
    (a, b), (c, d) = (face.axis / np.hypot(*face.axis) for face in (target, source))
    cosine, sine = a * c + b * d, b * c - a * d
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[cosine, -sine], [sine, cosine]]) * (radii[0] / radii[1]).mean()
    matrix[:2, 2] = target.sized.mean(0) - matrix[:2, :2] @ source.sized.mean(0)
    return matrix


def align_wing(
    photo: U8,  # [H, W, 3], RGB
    points: F64,  # [98, 2], px of the photograph from the outer corner of its first pixel
    *,
    size: int,
    mean: Anchored = MEAN_FACE,
) -> AlignedFace:
    """Cut out the square in which the face lies as the mean face does in its own.

    Raises InputError for landmarks that span no face or lie far outside the photograph.
    """
    face = anchored(points)
    to_photo = np.linalg.inv(similarity(face, mean))
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) @ to_photo[:2, :2].T + to_photo[:2, 2]
    quad = corners - 0.5  # quads are counted from the centre of the first pixel
    five = Landmarks(np.stack([*face.eyes, points[NOSE], *points[list(MOUTH)]]) - 0.5)
    flags = flags_of(five, quad, (photo.shape[1], photo.shape[0]), size)
    return cut(photo, quad, size=size, flags=flags)
