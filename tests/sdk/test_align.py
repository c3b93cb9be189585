"""Alignment against the official crops, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.errors import AmbiguousFace, CorruptFile, InputError, NoFace
from mien.faces.align import align, quad_from_landmarks
from mien.faces.detect import DetectedFace, Detector, choose
from mien.faces.landmarks import Landmarks, read_landmarks
from mien.faces.paste import paste
from mien.images import load

FIVE = np.array([[110.0, 120.0], [170, 118], [140, 160], [118, 190], [164, 189]])


def smooth_photo(
    rng: np.random.Generator, width: int = 320, height: int = 280
) -> NDArray[np.uint8]:
    small = rng.integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def test_official_crops_are_reproduced(shared: Path) -> None:
    golden = shared / "golden" / "ffhq-align"
    for case in json.loads((golden / "golden.json").read_text())["cases"]:
        photo = load(shared / case["photo"])
        if case["affine"]:
            size = (photo.shape[1], photo.shape[0])
            matrix = np.array(case["affine"], np.float64)
            photo = cv2.warpAffine(photo, matrix, size, borderMode=cv2.BORDER_REFLECT)
        found = align(photo, Landmarks(np.array(case["landmarks"])), size=256, transform_size=1024)
        difference = np.abs(found.image.astype(int) - load(golden / case["aligned"]))
        assert difference.max() <= 2
        assert difference.mean() < 0.01


def test_corners_of_the_crop_lie_on_the_quad(rng: np.random.Generator) -> None:
    face = align(smooth_photo(rng), Landmarks(FIVE), size=96)
    corners = np.array([[0, 0, 1], [0, 96, 1], [96, 96, 1], [96, 0, 1]], float)
    np.testing.assert_allclose((corners @ face.to_photo.T)[:, :2], face.quad, atol=1e-9)
    np.testing.assert_allclose(face.to_crop @ face.to_photo, np.eye(3), atol=1e-9)


@given(st.floats(-180, 180), st.floats(0.3, 4), st.floats(-500, 500), st.floats(-500, 500))
def test_the_quad_moves_with_the_face(angle: float, scale: float, x: float, y: float) -> None:
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = quad_from_landmarks(Landmarks(FIVE @ matrix.T + [x, y]))
    expected = quad_from_landmarks(Landmarks(FIVE)) @ matrix.T + [x, y]
    np.testing.assert_allclose(moved, expected, atol=1e-6 * max(1, abs(x), abs(y), 100 * scale))


def test_pixels_outside_the_face_keep_their_bits(rng: np.random.Generator) -> None:
    photo = smooth_photo(rng)
    face = align(photo, Landmarks(FIVE * 0.5 + [60, 50]), size=128)
    result = paste(photo, face, 255 - face.image)
    inside = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(face.quad).astype(np.int32)], 1)
    outside = cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0
    np.testing.assert_array_equal(result[outside], photo[outside])
    assert (result != photo).mean() > 0.05


def test_the_crop_itself_pasted_back_changes_little(rng: np.random.Generator) -> None:
    photo = smooth_photo(rng)
    face = align(photo, Landmarks(FIVE * 0.5 + [60, 50]), size=256)
    difference = np.abs(paste(photo, face, face.image).astype(int) - photo)
    assert difference.mean() < 0.3
    assert difference.max() <= 8


def test_another_photograph_is_not_pasted_into(rng: np.random.Generator) -> None:
    face = align(smooth_photo(rng), Landmarks(FIVE), size=64)
    with pytest.raises(InputError, match="100 x 90 px, the aligned one had 320 x 280"):
        paste(smooth_photo(rng, 100, 90), face, face.image)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (np.zeros((4, 2)), "expected"),
        (np.full((5, 2), np.nan), "NaN"),
        (np.ones((5, 2)), "less than a pixel"),
        (np.zeros((68, 3)), "expected"),
    ],
)
def test_points_that_are_no_face_are_refused(points: NDArray[np.float64], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Landmarks(points)


def test_landmarks_of_another_photograph_are_noticed(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="outside the photograph"):
        align(smooth_photo(rng), Landmarks(FIVE + 5000), size=64)


def test_landmarks_are_read_from_three_kinds_of_files(tmp_path: Path) -> None:
    Landmarks(FIVE).save(tmp_path / "a.json")
    np.save(tmp_path / "a.npy", FIVE)
    np.savetxt(tmp_path / "a.txt", FIVE)
    (tmp_path / "b.json").write_text(json.dumps(FIVE.tolist()))
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(read_landmarks(path).points, FIVE)


@pytest.mark.parametrize("name", ["a.json", "a.npy", "a.txt", "missing.json"])
def test_garbage_landmarks_are_refused(tmp_path: Path, name: str) -> None:
    if name != "missing.json":
        (tmp_path / name).write_text("{no numbers")
    with pytest.raises(CorruptFile, match=name):
        read_landmarks(tmp_path / name)


def detected(left: float, size: float) -> DetectedFace:
    return DetectedFace((left, 0.0, size, size), 0.9, Landmarks(FIVE))


def test_of_several_faces_one_must_be_named() -> None:
    faces = [detected(0, 10), detected(50, 30)]
    assert choose(faces[:1], "only") is faces[0]
    assert choose(faces, "largest") is faces[1]
    assert choose(faces, 0) is faces[0]
    with pytest.raises(AmbiguousFace, match=r"2 faces.*50 0 30 30"):
        choose(faces, "only")
    with pytest.raises(InputError, match="no face 2"):
        choose(faces, 2)
    with pytest.raises(NoFace):
        choose([], "largest")


def test_a_detector_finds_the_face_or_says_that_there_is_none(shared: Path) -> None:
    detector = Detector(shared / "data/weights/face_det/yunet_n_dynamic.onnx")
    photo = load(shared / "data/images/portraits1024/p02_front.jpg")
    face = choose(detector.detect(photo), "only")
    left, right = face.landmarks.anchors().eye_left, face.landmarks.anchors().eye_right
    assert 0.25 * 1024 < left[0] < right[0] < 0.75 * 1024
    with pytest.raises(NoFace, match="200 x 100"):
        detector.detect(np.full((100, 200, 3), 90, np.uint8))


def test_a_file_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFile, match="not a YuNet"):
        Detector(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="no detector file"):
        Detector(tmp_path / "missing.onnx")
