"""Alignment by 98 landmarks: what the published transform promises, on faces of any place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import CorruptFile, InputError
from mien.faces.wing import (
    COUNT,
    EYE_LEFT,
    EYE_RIGHT,
    MEAN_FACE,
    MOUTH,
    NOSE,
    SIZED,
    Anchored,
    align_wing,
    anchored,
    load_mean_face,
    similarity,
)


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    a = np.radians(degrees)
    rows = [[np.cos(a), -np.sin(a), shift[0]], [np.sin(a), np.cos(a), shift[1]]]
    matrix = np.array([*rows, [0, 0, 1]])
    matrix[:2, :2] *= scale
    return matrix


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.transform(points[None], matrix[:2])[0])


def mean_points(rng: np.random.Generator) -> np.ndarray:
    """98 points in a unit square whose eyes and mouth are those of the mean face."""
    points = rng.uniform(0.2, 0.8, (COUNT, 2))
    for eye, middle in zip((EYE_LEFT, EYE_RIGHT), MEAN_FACE.eyes, strict=True):
        points[list(eye)] += middle - points[list(eye)].mean(0)
        points[list(eye)] = (points[list(eye)] - middle) * 0.05 + middle
        points[eye[-1]] = middle
        points[list(eye[:-1])] += middle - points[list(eye[:-1])].mean(0)
    points[list(MOUTH)], points[NOSE] = MEAN_FACE.sized[2:], (0.5, 0.63)
    return points


@pytest.mark.parametrize("degrees", [-170.0, -35.0, 0.0, 12.5, 90.0])
def test_a_moved_mean_face_is_brought_back(rng: np.random.Generator, degrees: float) -> None:
    matrix = turned(degrees, 130, (210, 95))
    placed = moved(mean_points(rng), matrix)
    found = similarity(anchored(placed), MEAN_FACE)
    np.testing.assert_allclose(found @ matrix, np.eye(3), atol=1e-9)


def test_any_face_gets_the_axis_the_size_and_the_place_of_the_mean(
    rng: np.random.Generator,
) -> None:
    for _ in range(20):
        face = anchored(rng.uniform(0, 300, (COUNT, 2)))
        matrix = similarity(face, MEAN_FACE)
        eyes, sized = moved(face.eyes, matrix), moved(face.sized, matrix)
        axis, wanted = Anchored(eyes, sized).axis, MEAN_FACE.axis
        np.testing.assert_allclose(axis / np.hypot(*axis), wanted / np.hypot(*wanted), atol=1e-9)
        np.testing.assert_allclose(sized.mean(0), MEAN_FACE.sized.mean(0), atol=1e-9)
        radii = [np.hypot(*(points - points.mean(0)).T) for points in (face.sized, MEAN_FACE.sized)]
        scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
        np.testing.assert_allclose(scale, np.mean(radii[1] / radii[0]), rtol=1e-12)


def test_the_crop_shows_what_lies_under_it(rng: np.random.Generator) -> None:
    y, x = np.mgrid[:400, :400]
    photo = np.stack([x * 0.6, y * 0.6, np.full_like(x, 90)], 2).astype(np.uint8)
    placed = moved(mean_points(rng), turned(20, 150, (140, 90)))
    face = align_wing(photo, placed, size=64)
    assert face.image.shape == (64, 64, 3)
    at = moved(np.array([[20.5, 30.5], [50.5, 10.5]]), face.to_photo)
    for (u, v), (column, row) in zip(at, ((20, 30), (50, 10)), strict=True):
        seen = face.image[row, column].astype(float)
        np.testing.assert_allclose(seen[:2], [(u - 0.5) * 0.6, (v - 0.5) * 0.6], atol=1.5)
    # Eyes and mouth lie as the mean face's do, but for what is rounded to whole pixels.
    back = moved(placed[list(SIZED)], face.to_crop) / 64
    np.testing.assert_allclose(back, MEAN_FACE.sized, atol=1 / 64)
    assert face.flags == ()


def test_a_published_mean_face_is_read(rng: np.random.Generator, tmp_path: Path) -> None:
    points = rng.uniform(0, 256, (COUNT, 2))
    np.savez(tmp_path / "mean.npz", mean=points)
    found = load_mean_face(tmp_path / "mean.npz")
    np.testing.assert_allclose(found.sized * 256, points[[96, 97, 76, 82]])
    np.testing.assert_allclose(found.eyes[1] * 256, points[[*range(68, 76), 97]].mean(0))


def test_files_without_a_mean_face_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", median=np.zeros((COUNT, 2)))
    np.savez(tmp_path / "short.npz", mean=np.zeros((68, 2)))
    np.savez(tmp_path / "nan.npz", mean=np.full((COUNT, 2), np.nan))
    np.savez(tmp_path / "objects.npz", mean=np.array([{}], object))
    (tmp_path / "text.npz").write_text("mean")
    for name in ("other", "short", "nan", "objects", "text", "missing"):
        with pytest.raises(CorruptFile, match=rf"{name}\.npz holds no mean face"):
            load_mean_face(tmp_path / f"{name}.npz")


def test_points_that_coincide_are_refused() -> None:
    with pytest.raises(InputError, match="span no face"):
        align_wing(np.zeros((9, 9, 3), np.uint8), np.full((COUNT, 2), 4.0), size=8)
