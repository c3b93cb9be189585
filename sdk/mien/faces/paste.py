"""The way back: an edited crop is laid into the photograph it was cut from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError
from mien.faces.align import MAX_TRANSFORM, AlignedFace
from mien.faces.colour import match_light

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Frame = tuple[int, int, int, int]  # left, top, right, bottom in px of the photograph

FEATHER = 0.1
LEAST_RIM = 0.05  # of the side: how wide the rim is that colours are taken from, at the least
RIM_SIZE = 256  # px, side of the pictures that colours are compared in: more says nothing more


def paste(
    photo: U8,  # [H, W, 3], RGB
    face: AlignedFace,
    edited: U8,  # [S, S, 3], RGB, any S
    *,
    feather: float = FEATHER,
    match_colour: float = 1.0,
) -> U8:  # [H, W, 3]
    """Lay edited over the square it came from.

    The edit is drawn at the photograph's scale (Lanczos, then a cubic warp) and blended in sRGB.
    Pixels outside the square keep their bits. Where alignment blurred the photograph, because the
    square reaches beyond it, the edit's change is added to the photograph's own detail.

    Args:
        feather: the part of the square's side over which it fades in at each edge, 0 to 0.5.
        match_colour: how far its colours are moved to the photograph's, 0 to 1, judged by the rim
            that fades: see `mien.faces.colour`.

    Raises InputError where the photograph is not the one that was aligned, for an edit that is no
    square, and for feather and match_colour beyond their ranges.
    """
    _check(photo, face, edited, feather, match_colour)
    frame = _frame(face)
    left, top, right, bottom = frame
    if left >= right or top >= bottom:
        return photo.copy()
    part = photo[top:bottom, left:right]
    new = _warped(match_light(edited, face.image, _rim(face, feather), match_colour), face, frame)
    if any(face.blurred):
        old = _warped(face.image.astype(np.float32), face, frame)
        new += _blurred(face, frame)[:, :, None] * (part - old)
    weight = _weight(face, feather, frame)[:, :, None]
    mixed = np.rint(part + weight * (new - part)).clip(0, 255).astype(np.uint8)
    result = photo.copy()
    result[top:bottom, left:right] = np.where(weight > 0, mixed, part)
    return result


def _check(photo: U8, face: AlignedFace, edited: U8, feather: float, match_colour: float) -> None:
    if (photo.shape[1], photo.shape[0]) != face.photo_size:
        raise InputError(
            f"the photograph has {photo.shape[1]} x {photo.shape[0]} px, "
            f"the aligned one had {face.photo_size[0]} x {face.photo_size[1]}",
            hint="Pass the photograph that was given to align",
        )
    if edited.shape[0] != edited.shape[1]:
        raise InputError(
            f"the edited crop has {edited.shape[1]} x {edited.shape[0]} px, expected a square",
            hint="Pass the whole crop, at any size",
        )
    if not 0 <= feather <= 0.5:
        raise InputError(f"feather is {feather}, expected 0 to 0.5 of the square's side")
    if not 0 <= match_colour <= 1:
        raise InputError(f"match_colour is {match_colour}, expected 0 to 1")


def _frame(face: AlignedFace) -> Frame:
    """The part of the photograph that the square touches."""
    size = face.size
    corners = np.array([[0, 0, 1], [0, size, 1], [size, size, 1], [size, 0, 1]], np.float64)
    places = (corners @ face.to_photo.T)[:, :2]
    low = np.floor(places.min(0)).astype(int).clip(0)
    high = np.ceil(places.max(0)).astype(int).clip(None, face.photo_size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _warped(picture: F32, face: AlignedFace, frame: Frame) -> F32:
    """Draw a crop [S, S, 3] where it lies in the frame [H, W, 3]."""
    left, top, right, bottom = frame
    picture = _at_photo_scale(picture, face)
    # Pixel centres: OpenCV counts them from 0, the transform from the corner of the first pixel.
    scale = face.size / picture.shape[0]
    matrix = _shift(-left - 0.5, -top - 0.5) @ face.to_photo @ np.diag([scale, scale, 1])
    warped: F32 = cv2.warpAffine(
        picture,
        (matrix @ _shift(0.5, 0.5))[:2],
        (right - left, bottom - top),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped


def _shift(x: float, y: float) -> F64:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _blurred(face: AlignedFace, frame: Frame) -> F32:
    """Where alignment blurred the photograph [H, W]: 1, falling to 0 further inside. There the crop
    is compared with a blurred picture, and the photograph's detail is put back."""
    left, top, right, bottom = frame
    x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    width, height = face.photo_size
    across = np.zeros(len(x)), np.zeros(len(y))
    distances = ((0, x), (1, y), (0, width - x), (1, height - y))
    for (axis, distance), reach in zip(distances, face.blurred, strict=True):
        if reach:
            near = np.clip(3 - 2 * distance / reach, 0, 1)  # until half as far again
            np.maximum(across[axis], near, out=across[axis])
    blurred: F32 = np.maximum(across[0][None, :], across[1][:, None]).astype(np.float32)
    return blurred


def _at_photo_scale(picture: F32, face: AlignedFace) -> F32:
    """Scale a crop so that its px are about as large as the photograph's: no detail aliases."""
    size = picture.shape[0]
    side = int(np.ceil(np.hypot(*face.to_photo[:2, 0]) * face.size))
    wanted = max(1, min(side, max(size, MAX_TRANSFORM)))
    if wanted == size:
        return picture
    planes = [
        Image.fromarray(plane).resize((wanted, wanted), Image.Resampling.LANCZOS)
        for plane in np.ascontiguousarray(picture.transpose(2, 0, 1))
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _weight(face: AlignedFace, feather: float, frame: Frame) -> F32:
    """How much of the edit is seen at each pixel of the frame [H, W], 0..1."""
    left, top, right, bottom = frame
    x, y = np.arange(left, right)[None, :] + 0.5, np.arange(top, bottom)[:, None] + 0.5
    across, down = (  # summed in float32, which a px is far above; four times as fast
        (row[0] * x + row[2]).astype(np.float32) + (row[1] * y).astype(np.float32)
        for row in face.to_crop[:2] / face.size
    )
    weight: F32 = _ramp(across, feather) * _ramp(down, feather)
    return weight


def _ramp(position: F32, feather: float) -> F32:
    """1 inside, falling smoothly to 0 at both ends of [0, 1], and 0 beyond."""
    inside = np.minimum(position, 1 - position)
    if feather == 0:
        return (inside > 0).astype(np.float32)
    ramp = np.clip(inside / feather, 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32, copy=False)


def _rim(face: AlignedFace, feather: float) -> F32:
    """Weights [R, R] of where the crop fades, as far as the photograph reaches."""
    size = min(face.size, RIM_SIZE)
    centres: F32 = ((np.arange(size) + 0.5) / size).astype(np.float32)
    ramp = _ramp(centres, max(feather, LEAST_RIM))
    weight = np.outer(ramp, ramp)
    across, down = centres[None, :] * face.size, centres[:, None] * face.size
    x, y = (row[0] * across + row[1] * down + row[2] for row in face.to_photo[:2])
    width, height = face.photo_size
    within = (x > 0) & (y > 0) & (x < width) & (y < height)
    rim: F32 = (4 * weight * (1 - weight) * within).astype(np.float32)
    return rim
