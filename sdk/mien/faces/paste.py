"""The way back: an edited crop is laid into the photograph it was cut from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces.align import AlignedFace

U8 = NDArray[np.uint8]


def paste(
    photo: U8,  # [H, W, 3], RGB
    face: AlignedFace,
    edited: U8,  # [S, S, 3], RGB, any S
    *,
    feather: float = 0.1,
) -> U8:  # [H, W, 3]
    """Lay edited over the square it came from, fading over `feather` of its side at each edge.

    Pixels outside the square keep their bits.

    Raises InputError where the photograph is not the one that was aligned.
    """
    if (photo.shape[1], photo.shape[0]) != face.photo_size:
        raise InputError(
            f"the photograph has {photo.shape[1]} x {photo.shape[0]} px, "
            f"the aligned one had {face.photo_size[0]} x {face.photo_size[1]}",
            hint="Pass the photograph that was given to align",
        )
    if not 0 <= feather <= 0.5:
        raise InputError(f"feather is {feather}, expected 0 to 0.5 of the square's side")
    size = edited.shape[0]
    scale = face.image.shape[0] / size
    # Pixel centres: OpenCV counts them from 0, the transform from the corner of the first pixel.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ face.to_photo @ np.diag([scale, scale, 1]) @ half
    smaller = max(1.0, 1 / float(np.hypot(*matrix[:2, 0])))
    if smaller > 1:  # averages first, so that fine detail does not alias
        edited = cv2.GaussianBlur(edited, (0, 0), 0.5 * np.sqrt(smaller**2 - 1))
    frame = face.photo_size
    warped = cv2.warpAffine(
        edited, matrix[:2], frame, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    weight = cv2.warpAffine(_feathered(size, feather), matrix[:2], frame)[:, :, None]
    mixed = photo + weight * (warped.astype(np.float32) - photo)
    return np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), photo).astype(np.uint8)


def _feathered(size: int, feather: float) -> NDArray[np.float32]:
    """A weight [size, size]: 1 inside, falling smoothly to 0 at the edges."""
    if feather == 0:
        return np.ones((size, size), np.float32)
    position = (np.arange(size, dtype=np.float32) + 0.5) / size
    ramp = np.clip(np.minimum(position, 1 - position) / feather, 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    weight: NDArray[np.float32] = np.outer(smooth, smooth).astype(np.float32)
    return weight
