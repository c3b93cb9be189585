"""The way back: exact to a part of a pixel, soft at the edges, in the photograph's light."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.bundles import built_in
from mien.cli.main import main
from mien.errors import CorruptFile, InputError
from mien.faces.align import AlignedFace, align, cut
from mien.faces.colour import CONES, light_between
from mien.faces.landmarks import Landmarks
from mien.faces.paste import paste
from mien.faces.record import load_face, photo_digest, record_path, save_face
from mien.images import Picture, load, save
from mien.studio import Studio

U8 = NDArray[np.uint8]
FIVE = np.array([[-30.0, -30], [30, -32], [0, 10], [-22, 40], [24, 39]])


def photograph(rng: np.random.Generator, width: int = 640, height: int = 500) -> U8:
    """Detail of about 12 px, as a sharp photograph has little finer."""
    small = rng.integers(0, 256, (height // 12, width // 12, 3), np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).astype(np.uint8)


def points(x: float, y: float, *, scale: float = 1.0, degrees: float = 0.0) -> Landmarks:
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return Landmarks(FIVE @ matrix.T + [x, y])


def upright(photo: U8, left: int, top: int, side: int, size: int) -> AlignedFace:
    """A face whose square lies on whole pixels."""
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * side + [left, top] - 0.5
    return cut(photo, corners.astype(np.float64), size=size)


def well_inside(photo: U8, face: AlignedFace, feather: float = 0.1) -> NDArray[np.bool_]:
    """Pixels that an edit covers wholly."""
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    place = np.einsum("ij,jhw->ihw", face.to_crop, np.stack([x, y, np.ones_like(x)])) / face.size
    return np.asarray((np.minimum(place[:2], 1 - place[:2]).min(0)) > feather)


# Where it lands.


@pytest.mark.parametrize(
    ("size", "scale", "degrees", "mean", "greatest"),
    [
        (1024, 1.0, 17, 0.75, 4),
        (512, 1.0, -100, 0.75, 4),
        (301, 1.0, 33, 0.75, 4),
        (256, 1.0, 0, 0.75, 4),
        (256, 1.9, 5, 1.0, 8),  # the square has 480 px and reaches beyond: detail is lost
        (128, 1.9, 8, 2.0, 20),  # and here the photograph was scaled down first
    ],
)
def test_a_crop_pasted_back_unedited_changes_next_to_nothing(
    rng: np.random.Generator, size: int, scale: float, degrees: float, mean: float, greatest: int
) -> None:
    photo = photograph(rng)
    face = align(photo, points(331.3, 240.7, scale=scale, degrees=degrees), size=size)
    inside = well_inside(photo, face)
    change = paste(photo, face, face.image).astype(float) - photo
    assert np.abs(change[inside]).mean() < mean
    assert np.abs(change[inside]).max() <= greatest
    # The shift that explains the change best, by least squares (Lucas and Kanade 1981).
    down, right = np.gradient(photo.astype(float), axis=(0, 1))
    slopes = np.stack([right[inside].ravel(), down[inside].ravel(), np.ones(change[inside].size)])
    shift = np.linalg.lstsq(slopes.T, change[inside].ravel(), rcond=None)[0][:2]
    assert np.hypot(*shift) < 0.01, "px"


def test_a_shift_of_a_tenth_of_a_pixel_would_be_noticed(rng: np.random.Generator) -> None:
    photo = photograph(rng)
    face = align(photo, points(331.3, 240.7), size=512)
    moved = face.to_photo.copy()
    moved[0, 2] += 0.1
    wrong = AlignedFace(face.image, face.quad, moved, face.photo_size)
    inside = well_inside(photo, face)
    change = paste(photo, wrong, face.image).astype(float) - photo
    right = np.gradient(photo.astype(float), axis=1)
    slope = np.stack([right[inside].ravel(), np.ones(change[inside].size)])
    shift = np.linalg.lstsq(slope.T, change[inside].ravel(), rcond=None)[0][0]
    assert shift == pytest.approx(-0.1, abs=0.02)


def test_pixels_outside_the_square_keep_their_bits(rng: np.random.Generator) -> None:
    photo = photograph(rng)
    face = align(photo, points(300, 250, scale=0.5, degrees=20), size=128)
    result = paste(photo, face, 255 - face.image)
    inside = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(face.quad).astype(np.int32)], 1)
    outside = cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0
    np.testing.assert_array_equal(result[outside], photo[outside])
    assert (result != photo).mean() > 0.02


@pytest.mark.parametrize("factor", [0.5, 2, 3.1])
def test_an_edit_of_another_size_lands_in_the_same_place(
    rng: np.random.Generator, factor: float
) -> None:
    photo = photograph(rng)
    face = align(photo, points(331.3, 240.7), size=300)
    side = round(300 * factor)
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    result = paste(photo, face, cv2.resize(face.image, (side, side), interpolation=way))
    inside = well_inside(photo, face)
    assert np.abs(result[inside].astype(float) - photo[inside]).mean() < (4 if factor < 1 else 1.5)


def test_detail_finer_than_the_photograph_becomes_grey(rng: np.random.Generator) -> None:
    photo = np.full((200, 200, 3), 128, np.uint8)
    face = align(photo, points(100, 100, scale=0.4, degrees=12), size=1024)
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    result = paste(photo, face, stripes, match_colour=0)
    assert result[well_inside(photo, face)].std() < 2


@pytest.mark.parametrize("place", [(0, 0), (639, 240), (320, 499), (20, 480)])
def test_at_the_border_an_edit_changes_the_photograph_and_keeps_its_detail(
    rng: np.random.Generator, place: tuple[int, int]
) -> None:
    photo = muted(rng)
    face = align(photo, points(*place, degrees=-15), size=300)
    assert "cut off" in face.flags
    assert any(face.blurred)
    result = paste(photo, face, face.image + np.uint8(30), match_colour=0)
    covered = well_inside(photo, face)
    assert covered.sum() > 1000
    change = result[covered].astype(float) - photo[covered]
    assert change.mean() == pytest.approx(30, abs=0.6)
    assert np.abs(change - 30).max() <= 3
    assert np.abs(change - 30).mean() < 0.75


def test_a_square_off_the_last_pixel_changes_nothing() -> None:
    photo = np.full((50, 60, 3), 9, np.uint8)
    face = upright(photo, 59, 10, 20, 16)
    away = AlignedFace(
        face.image, face.quad, np.array([[1, 0, 60.2], [0, 1, 0], [0, 0, 1]]), (60, 50)
    )
    np.testing.assert_array_equal(paste(photo, away, 255 - face.image), photo)


# How it fades.


@pytest.mark.parametrize("feather", [0, 0.05, 0.1, 0.27, 0.5])
def test_an_edit_fades_in_by_a_smooth_step(feather: float) -> None:
    photo = np.zeros((120, 150, 3), np.uint8)
    face = upright(photo, 20, 10, 100, 100)
    white = np.full((100, 100, 3), 255, np.uint8)
    result = paste(photo, face, white, feather=feather, match_colour=0)
    position = (np.arange(100) + 0.5) / 100
    near = np.minimum(position, 1 - position)
    step = np.clip(near / feather, 0, 1) if feather else np.ones(100)
    ramp = 3 * step**2 - 2 * step**3
    expected = np.zeros((120, 150))
    expected[10:110, 20:120] = 255 * np.outer(ramp, ramp)
    np.testing.assert_allclose(result, np.dstack([expected] * 3), atol=0.51)


# Several faces.


def test_faces_pasted_one_after_another_do_not_disturb_each_other(
    rng: np.random.Generator,
) -> None:
    photo = photograph(rng)
    faces = [align(photo, points(x, y, scale=0.5, degrees=d), size=96)
             for x, y, d in ((120, 120, 10), (320, 250, -20), (520, 380, 170))]  # fmt: skip
    edits = [np.roll(face.image, 1, 2) for face in faces]
    forwards = backwards = photo
    for face, edit in zip(faces, edits, strict=True):
        forwards = paste(forwards, face, edit)
    for face, edit in zip(faces[::-1], edits[::-1], strict=True):
        backwards = paste(backwards, face, edit)
    np.testing.assert_array_equal(forwards, backwards)
    for face, edit in zip(faces, edits, strict=True):
        alone, inside = paste(photo, face, edit), well_inside(photo, face, 0)
        np.testing.assert_array_equal(forwards[inside], alone[inside])


# In which light.


def lit(picture: U8, gains: tuple[float, float, float]) -> U8:
    """The same scene in another light: factors for long, medium and short cones."""
    level = picture / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    cones = light @ CONES.T * gains
    light = np.linalg.solve(CONES, cones.reshape(-1, 3).T).T.reshape(picture.shape).clip(0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)


def muted(rng: np.random.Generator) -> U8:
    """A photograph without pure colours, which another light would clip."""
    return (90 + photograph(rng) // 4).astype(np.uint8)


@pytest.mark.parametrize("gains", [(1.3, 1.1, 0.7), (0.8, 0.8, 0.8), (0.9, 1.0, 1.4)])
def test_another_light_is_recognised_and_taken_away(
    rng: np.random.Generator, gains: tuple[float, float, float]
) -> None:
    photo = muted(rng)
    face = align(photo, points(320, 250, degrees=12), size=256)
    edited = lit(face.image, gains)
    found = light_between(edited, face.image, np.ones((256, 256), np.float32))
    np.testing.assert_allclose(found, 1 / np.array(gains), rtol=0.04)
    inside = well_inside(photo, face)
    off = [
        np.abs(paste(photo, face, edited, match_colour=m)[inside].astype(float) - photo[inside])
        for m in (0, 0.5, 1)
    ]
    assert off[2].mean() < 0.15 * off[0].mean()
    assert 0.35 * off[0].mean() < off[1].mean() < 0.65 * off[0].mean()


def test_what_was_edited_within_the_rim_keeps_its_colours(rng: np.random.Generator) -> None:
    photo = muted(rng)
    face = align(photo, points(320, 250, degrees=12), size=200)
    edited = face.image.copy()
    edited[40:160, 40:160] = (200, 30, 30)
    np.testing.assert_array_equal(
        paste(photo, face, edited), paste(photo, face, edited, match_colour=0)
    )


def test_an_object_that_the_edit_moved_across_the_rim_is_no_change_of_light(
    rng: np.random.Generator,
) -> None:
    photo = muted(rng)
    face = align(photo, points(320, 250), size=200)
    edited = face.image.copy()
    edited[120:, :30] = edited[:30, 60:120] = (20, 15, 10)
    rim = np.zeros((200, 200), np.float32)
    rim[:20] = rim[-20:] = rim[:, :20] = rim[:, -20:] = 1
    np.testing.assert_allclose(light_between(edited, face.image, rim), 1, atol=0.05)


def test_a_rim_that_the_photograph_does_not_reach_says_nothing(rng: np.random.Generator) -> None:
    photo = photograph(rng)
    nothing = np.zeros((50, 50), np.float32)
    np.testing.assert_array_equal(light_between(photo, 255 - photo, nothing), 1)
    closeup = photo[200:260, 300:360]
    face = upright(closeup, -60, -60, 180, 90)  # a square that lies around the photograph
    edited = np.full((90, 90, 3), (255, 0, 0), np.uint8)
    assert (paste(closeup, face, edited)[30, 30] == (255, 0, 0)).all()


# What is refused.


def test_another_photograph_is_not_pasted_into(rng: np.random.Generator) -> None:
    photo = photograph(rng)
    face = align(photo, points(320, 250), size=64)
    with pytest.raises(InputError, match="100 x 90 px, the aligned one had 640 x 500"):
        paste(photo[:90, :100], face, face.image)
    with pytest.raises(InputError, match="64 x 32 px, expected a square"):
        paste(photo, face, face.image[:32])


@pytest.mark.parametrize("knob", ["feather", "match_colour"])
@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_knobs_beyond_their_ranges_are_refused(
    rng: np.random.Generator, knob: str, value: float
) -> None:
    photo = photograph(rng, 60, 50)
    face = upright(photo, 10, 10, 30, 16)
    with pytest.raises(InputError, match=f"{knob} is {value}, expected 0 to"):
        paste(photo, face, face.image, **{knob: value})


# On disk.


@pytest.fixture
def photo(rng: np.random.Generator) -> U8:
    return photograph(rng)


def test_a_face_is_read_back_as_it_was(tmp_path: Path, photo: U8) -> None:
    face = align(photo, points(320.123, 20, degrees=77, scale=2), size=200)
    path = save_face(face, photo, tmp_path / "a.face.json", name="photo.jpg")
    found = load_face(path, photo)
    np.testing.assert_array_equal(found.image, face.image)
    np.testing.assert_array_equal(found.quad, face.quad)
    np.testing.assert_array_equal(found.to_photo, face.to_photo)
    assert (found.photo_size, found.flags) == (face.photo_size, face.flags)
    assert face.flags == ("cut off",)


def test_the_digest_is_that_of_the_pixels(tmp_path: Path, photo: U8) -> None:
    assert photo_digest(load(save(photo, tmp_path / "a.png"))) == photo_digest(photo)
    assert photo_digest(photo[:, ::-1]) != photo_digest(photo)
    turned = np.ascontiguousarray(photo.reshape(640, 500, 3))
    assert photo_digest(turned) != photo_digest(photo), "the same bytes in another shape"


def test_a_face_of_another_photograph_is_refused(tmp_path: Path, photo: U8) -> None:
    path = save_face(align(photo, points(320, 250), size=64), photo, tmp_path / "a.face.json",
                     name="first.jpg")  # fmt: skip
    other = photo.copy()
    other[0, 0, 0] ^= 1
    with pytest.raises(InputError, match=r"another photograph of the same size.*first\.jpg"):
        load_face(path, other)
    assert load_face(path, other, retouched=True).size == 64
    with pytest.raises(InputError, match="of 640 x 500 px, this one has 640 x 499"):
        load_face(path, photo[:-1], retouched=True)


def record() -> dict[str, object]:
    quad = [[10.0, 10.0], [10.0, 50.0], [50.0, 50.0], [50.0, 10.0]]
    photo = {"name": "a.jpg", "width": 60, "height": 60, "sha256": "0" * 64}
    return {"kind": "mien aligned face", "version": 1, "photo": photo, "size": 32, "quad": quad}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "landmarks"}, {"version": 2}, {"size": 0}, {"size": 10**6}, {"photo": {}},
        {"more": 1}, {"quad": [[10, 10]] * 4}, {"quad": [[0, 0], [0, 1], [2, 1], [2, 0]]},
        {"quad": [[10, 10], [50, 10], [50, 50], [10, 50]]}, {"quad": "square"}, {"flags": ["odd"]},
        {"quad": [[float("nan"), 10], [10, 50], [50, 50], [50, 10]]},
        {"quad": [[float("inf"), 10], [10, 50], [50, 50], [50, 10]]},
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "a.face.json"
    path.write_text(json.dumps(record()))
    blank = np.zeros((60, 60, 3), np.uint8)
    assert load_face(path, blank, retouched=True).size == 32
    path.write_text(json.dumps(record() | change))
    with pytest.raises(CorruptFile, match=r"a\.face\.json is no record of a face") as caught:
        load_face(path, blank, retouched=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[" * 10_000, b"\xff\xfe", b"[1]", b" " * 100_000, None])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "a.face.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"a\.face\.json"):
        load_face(path, np.zeros((60, 60, 3), np.uint8))


# The studio and the command line.


@pytest.mark.skipif("demo" not in built_in(), reason="the demo bundle is not built")
def test_a_studio_pastes_at_the_photographs_resolution(photo: U8) -> None:
    with Studio("demo", backend="ort") as studio:
        faces = studio.align_all(photo, landmarks=[points(150, 250), points(480, 250)])
        edited = Picture(np.roll(faces[0].image, 1, 2), ("mix",))
        first = studio.paste(photo, faces[0], edited, feather=0.2)
        both = studio.paste(first, faces[1], faces[1].image, match_colour=0.5)
    assert both.size == (640, 500)
    assert both.edits == ("mix", "paste")
    expected = paste(photo, faces[0], edited.array, feather=0.2)
    np.testing.assert_array_equal(first.array, expected)


@pytest.fixture
def files(tmp_path: Path, photo: U8) -> Path:
    """A photograph, two faces' records and crops, and their edits."""
    save(photo, tmp_path / "photo.png")
    for i, x in enumerate((150, 480)):
        face = align(photo, points(x, 250, degrees=9), size=128)
        save(face.image, tmp_path / f"face-{i}.png")
        save_face(face, photo, record_path(tmp_path / f"face-{i}.png"), name="photo.png")
        save(np.roll(face.image, 1, 2), tmp_path / f"edit-{i}.png")
    return tmp_path


def test_the_command_pastes_several_faces(
    files: Path, photo: U8, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("photo.png", "face-0.face.json", "edit-0.png", "face-1.png", "edit-1.png")
    arguments = [str(files / name) for name in names]
    asked = ["paste", *arguments, "-o", str(files / "out.png"), "--feather", "0.2", "--json"]
    assert main([*asked, "--match-colour", "0"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["size"] == [640, 500]
    assert [Path(face["record"]).name for face in said["faces"]] == [
        "face-0.face.json", "face-1.face.json"
    ]  # fmt: skip
    expected = photo
    for i in (0, 1):
        face = load_face(files / f"face-{i}.face.json", photo)
        expected = paste(expected, face, load(files / f"edit-{i}.png"), feather=0.2, match_colour=0)
    np.testing.assert_array_equal(load(files / "out.png"), expected)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["other.png", "face-0.png", "edit-0.png"], "another photograph of the same size"),
        (["photo.png", "edit-0.png", "face-0.png"], "there is no file"),
        (["photo.png", "face-0.png", "edit-0.png", "face-1.png"], "stands alone"),
        (["photo.png", "face-0.png", "missing.png"], "missing.png"),
        (["edit-0.png", "face-0.png", "edit-0.png"], "640 x 500 px, this one has 128 x 128"),
    ],
)
def test_what_cannot_be_pasted_is_said_in_one_line(
    files: Path, photo: U8, names: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(255 - photo, files / "other.png")
    before = sorted(path.name for path in files.iterdir())
    assert main(["paste", *(str(files / n) for n in names), "-o", str(files / "out.png")]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in files.iterdir()) == before


def test_a_retouched_photograph_is_pasted_into_when_that_is_said(files: Path, photo: U8) -> None:
    save((photo * 0.9).astype(np.uint8), files / "darker.png")
    arguments = [str(files / n) for n in ("darker.png", "face-0.png", "edit-0.png")]
    assert main(["paste", *arguments, "-o", str(files / "out.png"), "--retouched"]) == 0
    assert load(files / "out.png").shape == photo.shape
