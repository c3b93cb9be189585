"""FFHQ alignment: a photograph and the points of a face become an upright square crop.

The recipe of the FFHQ dataset (Karras et al. 2019, appendix A), step by step as published, so that
crops are framed as those that generators were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError
from mien.faces.landmarks import Landmarks
from mien.faces.quality import Flag, flags_of

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

OVERSAMPLING = 4  # the warp draws this much larger than the crop, then scales down
MAX_TRANSFORM = 4096  # px
STEEPNESS = 3.0  # the blur of the padding ends a third of the pad inside the photograph
MAX_REACH = 8  # a square larger than the photograph so many times shows nothing of it


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A crop, and the way back.

    image: uint8 RGB [S, S, 3].
    quad: corners of the crop in the photograph, [4, 2] px: top left, bottom left, bottom right,
        top right. Counted as landmarks are: the centre of the first pixel is 0, 0.
    to_photo: 3x3, from px of the crop to px of the photograph, both counted from the outer corner
        of the first pixel. It is what was done, so it has the half pixel and the rounding to whole
        pixels in it by which the recipe's crop is off its quad.
    photo_size: width and height of the photograph.
    flags: what may make the crop a poor one: "small", "cut off", "profile", "mirrored".
    blurred: how far from the left, upper, right and lower edge of the photograph the crop is
        blurred, in px of the photograph; 0 where the square does not reach beyond it.
    """

    image: U8
    quad: F64
    to_photo: F64
    photo_size: tuple[int, int]
    flags: tuple[Flag, ...] = ()
    blurred: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def size(self) -> int:
        """Side of the crop in px."""
        return int(self.image.shape[0])

    @property
    def to_crop(self) -> F64:
        """3x3, from px of the photograph to px of the crop."""
        return np.linalg.inv(self.to_photo).astype(np.float64)


def quad_from_landmarks(landmarks: Landmarks) -> F64:
    """Return the corners of the FFHQ square [4, 2], in px of the photograph."""
    a = landmarks.anchors()
    eyes = (a.eye_left + a.eye_right) / 2
    eye_to_eye = a.eye_right - a.eye_left
    eye_to_mouth = (a.mouth_left + a.mouth_right) / 2 - eyes
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    length = np.hypot(*x)
    if not length > 0:
        raise InputError("the landmarks span no square", hint="Detect them again")
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / length
    y = np.flipud(x) * [-1, 1]
    centre = eyes + eye_to_mouth * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def align(
    photo: U8,  # [H, W, 3], RGB
    landmarks: Landmarks,
    *,
    size: int = 1024,
    transform_size: int | None = None,
) -> AlignedFace:
    """Cut out the FFHQ square. Where it reaches beyond the photograph, that is continued by
    reflection, blurred and faded towards its median colour.

    Args:
        size: of the crop in px.
        transform_size: px drawn before scaling down; None means 4 times size, at most 4096.

    Raises InputError for a size below 1 or landmarks far outside the photograph.
    """
    quad = quad_from_landmarks(landmarks)
    flags = flags_of(landmarks, quad, (photo.shape[1], photo.shape[0]), size)
    return cut(photo, quad, size=size, transform_size=transform_size, flags=flags)


def cut(
    photo: U8,  # [H, W, 3], RGB
    quad: F64,  # [4, 2]
    *,
    size: int,
    transform_size: int | None = None,
    flags: tuple[Flag, ...] = (),
) -> AlignedFace:
    """Cut out a square by its corners. Arguments and errors are those of `align`."""
    if not 1 <= size <= MAX_TRANSFORM:
        raise InputError(f"size is {size} px, expected 1 to {MAX_TRANSFORM}")
    drawn = transform_size or min(OVERSAMPLING * size, max(MAX_TRANSFORM, size))
    _check_overlap(quad, photo)
    image, local = _shrunk(Image.fromarray(photo), quad, size)
    per_x, per_y = photo.shape[1] / image.width, photo.shape[0] / image.height
    to_photo = _to_photo(local, size, per_x, per_y)
    image, local = _cropped(image, local)
    image, local, blurred = _padded(image, local)
    corners = tuple((local + 0.5).flatten())
    image = image.transform(
        (drawn, drawn), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
    )
    if size != drawn:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    photo_size = (photo.shape[1], photo.shape[0])
    left, top, right, bottom = blurred
    return AlignedFace(
        image=np.asarray(image),
        quad=quad,
        to_photo=to_photo,
        photo_size=photo_size,
        flags=flags,
        blurred=(left * per_x, top * per_y, right * per_x, bottom * per_y),
    )


def _to_photo(
    quad: F64,  # [4, 2], in the photograph as it was scaled down
    size: int,
    per_x: float,  # px of the photograph to one of the scaled one
    per_y: float,
) -> F64:
    corners = (quad + 0.5) * [per_x, per_y]  # from centres of pixels to their outer corners
    origin, down, right = corners[0], corners[1] - corners[0], corners[3] - corners[0]
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 2] = right / size, down / size, origin
    return matrix


def _side(quad: F64) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _check_overlap(quad: F64, photo: U8) -> None:
    low, high = quad.min(0), quad.max(0)
    height, width = photo.shape[:2]
    if (high <= 0).any() or low[0] >= width or low[1] >= height:
        raise InputError(
            f"the landmarks lie outside the photograph of {width} x {height} px",
            hint="Are they of another photograph, or of a scaled one?",
        )
    if _side(quad) > MAX_REACH * max(width, height):
        raise InputError(
            f"the face's square has sides of {_side(quad):.0f} px, the photograph of "
            f"{width} x {height} px shows next to nothing of it",
            hint="Are the landmarks of another photograph, or of a scaled one?",
        )


def _shrunk(image: Image.Image, quad: F64, size: int) -> tuple[Image.Image, F64]:
    """Scale a much larger photograph down first."""
    shrink = int(np.floor(_side(quad) / size * 0.5))
    if shrink > 1:
        scaled = (max(round(image.width / shrink), 1), max(round(image.height / shrink), 1))
        return image.resize(scaled, Image.Resampling.LANCZOS), quad / shrink
    return image, quad


def _border(quad: F64) -> int:
    return max(round(_side(quad) * 0.1), 3)


def _cropped(image: Image.Image, quad: F64) -> tuple[Image.Image, F64]:
    """Keep what the square needs."""
    border = _border(quad)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    box = (
        max(low[0] - border, 0),
        max(low[1] - border, 0),
        min(high[0] + border, image.width),
        min(high[1] + border, image.height),
    )
    if box[2] - box[0] < image.width or box[3] - box[1] < image.height:
        image = image.crop(box)
        quad = quad - np.array(box[:2])
    return image, quad


def _padded(image: Image.Image, quad: F64) -> tuple[Image.Image, F64, list[float]]:
    """Continue the picture where the square reaches beyond it. The third result is how far from its
    left, upper, right and lower edge the picture itself is blurred by that."""
    border = _border(quad)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    pad = (
        max(int(-low[0]) + border, 0),
        max(int(-low[1]) + border, 0),
        max(int(high[0]) - image.width + border, 0),
        max(int(high[1]) - image.height + border, 0),
    )
    if max(pad) <= border - 4:
        return image, quad, [0.0] * 4
    least = round(_side(quad) * 0.3)
    left, top, right, bottom = (max(wanted, least) for wanted in pad)
    pixels = np.pad(
        np.asarray(image, np.float32), ((top, bottom), (left, right), (0, 0)), "reflect"
    )
    height, width = pixels.shape[:2]
    y, x = np.ogrid[:height, :width]
    distance_x = np.minimum(x / left, (width - 1 - x) / right)
    distance_y = np.minimum(y / top, (height - 1 - y) / bottom)
    mask = (1.0 - np.minimum(distance_x, distance_y))[:, :, None].astype(np.float32)
    sigma = _side(quad) * 0.02
    # SciPy's gaussian_filter, which the recipe names, cuts at four sigma and reflects the edge.
    reach = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(pixels, (reach, reach), sigma, borderType=cv2.BORDER_REFLECT)
    pixels += (blurred - pixels) * np.clip(mask * STEEPNESS + 1.0, 0.0, 1.0)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(mask, 0.0, 1.0)
    levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    # A side that needed no padding is blurred too, but only beyond the square.
    inwards = [max(wanted, least) / STEEPNESS if wanted else 0.0 for wanted in pad]
    return Image.fromarray(levels), quad + np.array([left, top]), inwards
