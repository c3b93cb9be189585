"""Alignment against the official crops, whatever points it is given."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.errors import CorruptFile, InputError
from mien.faces.align import align, quad_from_landmarks
from mien.faces.landmarks import Landmarks, read_landmarks
from mien.faces.quality import flags_of
from mien.images import load

FIVE = np.array([[110.0, 120.0], [170, 118], [140, 160], [118, 190], [164, 189]])


def smooth_photo(
    rng: np.random.Generator, width: int = 320, height: int = 280
) -> NDArray[np.uint8]:
    small = rng.integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def test_official_crops_are_reproduced(shared: Path) -> None:
    golden = shared / "golden" / "ffhq-align"
    reaching = 0
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
        reaching += int(found.quad.min() < 0 or (found.quad.max(0) > photo.shape[1::-1]).any())
    assert reaching >= 2, "no case reaches beyond its photograph, so none is padded"


def test_corners_of_the_crop_lie_on_the_quad(rng: np.random.Generator) -> None:
    face = align(smooth_photo(rng), Landmarks(FIVE), size=96)
    corners = np.array([[0, 0, 1], [0, 96, 1], [96, 96, 1], [96, 0, 1]], float)
    # The quad counts from the centre of the first pixel, the transform from its corner.
    np.testing.assert_allclose((corners @ face.to_photo.T)[:, :2], face.quad + 0.5, atol=1e-9)
    np.testing.assert_allclose(face.to_crop @ face.to_photo, np.eye(3), atol=1e-9)


@given(st.floats(-180, 180), st.floats(0.3, 4), st.floats(-500, 500), st.floats(-500, 500))
def test_the_quad_moves_with_the_face(angle: float, scale: float, x: float, y: float) -> None:
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = quad_from_landmarks(Landmarks(FIVE @ matrix.T + [x, y]))
    expected = quad_from_landmarks(Landmarks(FIVE)) @ matrix.T + [x, y]
    np.testing.assert_allclose(moved, expected, atol=1e-6 * max(1, abs(x), abs(y), 100 * scale))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_crops_of_a_few_pixels_can_be_had(rng: np.random.Generator, size: int) -> None:
    face = align(smooth_photo(rng), Landmarks(FIVE), size=size)
    assert face.image.shape == (size, size, 3)
    assert face.size == size


@pytest.mark.parametrize("size", [63, 128, 300])
def test_a_crop_of_any_size_shows_the_same(rng: np.random.Generator, size: int) -> None:
    photo = smooth_photo(rng)
    face, large = (align(photo, Landmarks(FIVE), size=s) for s in (size, 512))
    expected = cv2.resize(large.image, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(face.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("size", [0, -5, 4097])
def test_sizes_that_cannot_be_are_refused(rng: np.random.Generator, size: int) -> None:
    with pytest.raises(InputError, match=f"size is {size} px, expected 1 to 4096"):
        align(smooth_photo(rng), Landmarks(FIVE), size=size)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 5)])
def test_photographs_of_any_shape_are_cut_or_refused(shape: tuple[int, int]) -> None:
    photo = np.full((*shape, 3), 77, np.uint8)
    points = (FIVE - FIVE.mean(0)) / 40 + [shape[1] / 2, shape[0] / 2]
    face = align(photo, Landmarks(points), size=16)
    assert np.abs(face.image.astype(int) - 77).max() <= 1
    assert "cut off" in face.flags


# Row I12: points of every kind.


@given(
    st.lists(
        st.tuples(*[st.floats(-400, 700) | st.sampled_from([0.0, 50.0, np.nan, 1e9])] * 2),
        min_size=5, max_size=5,
    ),
    st.integers(8, 40),
)  # fmt: skip
def test_any_five_points_give_a_crop_or_a_typed_error(
    points: list[tuple[float, float]], size: int
) -> None:
    photo = np.full((60, 90, 3), 50, np.uint8)
    try:
        face = align(photo, Landmarks(np.array(points)), size=size)
    except InputError:
        return
    assert face.image.shape == (size, size, 3)
    assert np.isfinite(face.quad).all()
    assert np.isfinite(face.to_crop).all()
    assert np.abs(face.image.astype(int) - 50).max() <= 1


def test_points_on_one_line_span_a_square_or_say_that_they_do_not() -> None:
    photo = np.full((100, 100, 3), 50, np.uint8)
    row = np.array([[40.0, 50], [60, 50], [50, 50], [45, 50], [55, 50]])
    assert align(photo, Landmarks(row), size=8).image.shape == (8, 8, 3)
    none = np.array([[40.0, 50], [60, 50], [50, 40], [50, 30], [50, 30]])
    with pytest.raises(InputError, match="span no square"):
        align(photo, Landmarks(none), size=8)


def flags(points: NDArray[np.float64], size: int = 64) -> tuple[str, ...]:
    landmarks = Landmarks(points)
    return flags_of(landmarks, quad_from_landmarks(landmarks), (320, 280), size)


def test_what_makes_a_poor_crop_is_told() -> None:
    assert flags(FIVE) == ()
    side = float(np.hypot(*(np.diff(quad_from_landmarks(Landmarks(FIVE))[[0, 3]], axis=0)[0])))
    assert flags(FIVE, size=int(2 * side)) == ()
    assert flags(FIVE, size=int(2 * side) + 1) == ("small",)
    assert flags(FIVE - [100, 0]) == ("cut off",)
    aside = FIVE.copy()
    aside[2, 0] = 168
    assert flags(aside) == ("profile",)
    narrow = (FIVE - [140, 150]) * [0.4, 1] + [140, 150]
    assert flags(narrow) == ("profile",)
    assert flags(FIVE[[1, 0, 2, 4, 3]] * [1, 1]) == ("mirrored",)
    turned = (FIVE - [140, 150]) @ np.array([[0, 1], [-1, 0]]) + [140, 150]
    assert flags(turned) == ()


def test_flags_are_those_of_the_crop(rng: np.random.Generator) -> None:
    face = align(smooth_photo(rng), Landmarks(FIVE + np.array([100, 0])), size=640)
    assert face.flags == ("small", "cut off")


def test_sixty_eight_points_agree_with_their_five() -> None:
    many = np.full((68, 2), 140.0)
    many[36:42], many[42:48] = FIVE[0], FIVE[1]
    many[36:39] += [3, 4]
    many[39:42] -= [3, 4]
    many[30], many[48], many[54] = FIVE[2], FIVE[3], FIVE[4]
    np.testing.assert_allclose(
        quad_from_landmarks(Landmarks(many)), quad_from_landmarks(Landmarks(FIVE)), atol=1e-9
    )


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
    with pytest.raises(InputError, match="shows next to nothing"):
        align(smooth_photo(rng), Landmarks((FIVE - [140, 150]) * 20 + [140, 150]), size=64)


def test_landmarks_are_read_from_files_of_all_kinds(tmp_path: Path) -> None:
    Landmarks(FIVE).save(tmp_path / "a.json")
    np.save(tmp_path / "a.npy", FIVE)
    np.savetxt(tmp_path / "a.txt", FIVE, header="x y")
    np.savetxt(tmp_path / "a.csv", FIVE, delimiter=", ")
    (tmp_path / "b.json").write_text(json.dumps(FIVE.tolist()))
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(read_landmarks(path).points, FIVE)
    assert len(list(tmp_path.iterdir())) == 5


def _bomb() -> bytes:
    """A NumPy file whose header promises a terabyte."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (68719476736, 2), }"
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


GARBAGE = {
    "a.json": b"{no numbers", "b.json": b'{"lines": []}', "c.json": b"[" * 100_000,
    "d.json": b'[["x", "y"]]', "a.npy": b"{no numbers", "b.npy": _bomb(), "c.npy": b"",
    "d.npy": b"PK\x03\x04", "a.txt": b"{no numbers", "b.txt": b"1 2\n3\n", "c.txt": b"",
    "d.txt": b"1 2\n" * 500_000, "e.txt": b"\xff\xfe\x00",
}  # fmt: skip


@pytest.mark.parametrize("name", [*GARBAGE, "missing.json", "."])
def test_garbage_landmarks_are_refused(tmp_path: Path, name: str) -> None:
    if name in GARBAGE:
        (tmp_path / name).write_bytes(GARBAGE[name])
    with pytest.raises((CorruptFile, InputError), match=name.replace(".", r"\.")) as caught:
        read_landmarks(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_landmarks_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        Landmarks(FIVE).save(tmp_path / "no folder" / "a.json")
    assert not list(tmp_path.iterdir())
