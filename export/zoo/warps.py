"""Affine maps of pictures and of points in them: x, y in px, 0, 0 the top left pixel's corner."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def warped(
    picture: NDArray[Any], matrix: F64, size: tuple[int, int], **options: Any
) -> NDArray[Any]:
    """Draw picture moved by matrix [2, 3] on a canvas of size (width, height).

    OpenCV counts from the centre of the top left pixel.
    """
    inner = matrix.copy()
    inner[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    result: NDArray[Any] = cv2.warpAffine(picture, inner, size, **options)
    return result


def moved(points: NDArray[Any], matrix: F64) -> F64:
    """Move points [..., 2]."""
    result: F64 = points @ matrix[:, :2].T + matrix[:, 2]
    return result


def inverse(matrix: F64) -> F64:
    """Return the way back."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def placing(source: F64, target: F64, scale: float, degrees: float = 0.0) -> F64:
    """Scale and turn (clockwise, as the picture is seen), so that source goes to target [2]."""
    turn = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, target - linear @ source])


def turned_box(box: F64, matrix: F64) -> F64:
    """Return the box around the ellipse in box (left, top, right, bottom), moved.

    A face is rounder than a rectangle: the corners' own box would grow with every turn.
    """
    centre = moved((box[:2] + box[2:]) / 2, matrix)
    half = np.hypot(*(matrix[:, :2] * ((box[2:] - box[:2]) / 2)).T)
    return np.concatenate([centre - half, centre + half])
