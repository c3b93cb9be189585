"""Pictures of every kind in, marked pictures out."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from tests.sdk.picture_files import P3_PROFILE, P3_TO_SRGB, decoded, encoded, headers, png

from mien.errors import (
    DecodeError,
    InputError,
    MienError,
    TooLarge,
    TruncatedImage,
    UnsupportedFormat,
)
from mien.images import Picture, as_rgb, load, save
from mien.provenance import SYNTHETIC

U8 = NDArray[np.uint8]


@pytest.fixture
def picture(rng: np.random.Generator) -> U8:
    return rng.integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def smooth(rng: np.random.Generator) -> U8:
    """A picture that JPEG keeps within a few levels."""
    y, x = np.mgrid[:48, :64]
    waves = [np.sin(x / a + y / b) for a, b in rng.uniform(5, 20, (3, 2))]
    return np.rint(128 + 100 * np.stack(waves, 2)).astype(np.uint8)


def test_png_survives_bit_for_bit_and_says_who_made_it(tmp_path: Path, picture: U8) -> None:
    path = Picture(picture, ("mix",)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(path), picture)
    with Image.open(path) as opened:
        assert opened.text["Software"].startswith("mien ")  # type: ignore[attr-defined]
    assert SYNTHETIC.encode() in path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats_are_marked_too(tmp_path: Path, picture: U8, suffix: str) -> None:
    path = save(picture, tmp_path / f"a{suffix}", edits=["project"])
    assert SYNTHETIC.encode() in path.read_bytes()
    assert load(path).shape == picture.shape


# Row I1: bombs are refused by what their headers promise.


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    bombs = headers(65_000, 60_000) | {
        "profile.png": png(2, 2, 8, 2, bytes(14), [(b"iCCP", b"x\0\0" + _zeros(64 << 20))]),
        "text.png": png(2, 2, 8, 2, bytes(14), [(b"zTXt", b"x\0\0" + _zeros(64 << 20))]),
    }
    for name, data in bombs.items():
        assert len(data) < 520_000
        (tmp_path / name).write_bytes(data)
    script = """
import json, sys
from mien.errors import MienError
from mien.images import load
found = {}

def peak():  # of this program; getrusage's would begin at that of the one that started it
    with open("/proc/self/status") as status:
        return int(status.read().partition("VmHWM:")[2].split()[0])

for path in sys.argv[1:]:
    before = peak()
    try:
        load(path)
    except MienError as error:
        found[path] = (error.code, peak() - before)
print(json.dumps(found))
"""
    paths = [str(tmp_path / name) for name in bombs]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert {code for code, _ in found.values()} == {"TooLarge"}
    assert len(found) == len(bombs) == 8
    assert max(kilobytes for _, kilobytes in found.values()) < 50_000


def _zeros(length: int) -> bytes:
    return zlib.compress(bytes(length), 9)


def test_the_limit_is_the_callers(tmp_path: Path, picture: U8) -> None:
    path = save(picture, tmp_path / "a.png")
    assert load(path, max_pixels=960).shape == (24, 40, 3)
    with pytest.raises(TooLarge, match="40 x 24 px"):
        load(path, max_pixels=959)


# Row I2: EXIF orientations.

TURNS = {
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2), 8: lambda x: np.rot90(x, 3),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_upright(
    tmp_path: Path, smooth: U8, orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](smooth)))
    options = {"jpg": {"quality": 98, "subsampling": 0}, "webp": {"lossless": True}}
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options.get(suffix, {}))  # type: ignore[arg-type]
    found = load(tmp_path / f"a.{suffix}")
    assert found.shape == smooth.shape
    assert np.abs(found.astype(int) - smooth).max() <= (12 if suffix == "jpg" else 0)


def test_exif_that_cannot_be_read_says_nothing(tmp_path: Path, smooth: U8) -> None:
    Image.fromarray(smooth).save(tmp_path / "a.jpg", exif=b"Exif\0\0no TIFF in here at all")
    assert load(tmp_path / "a.jpg").shape == smooth.shape


# Row I3: modes, depths and profiles.


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 256, 16, np.uint8), (16, 1))
    cases = {
        "L.png": Image.fromarray(grey),
        "LA.png": Image.merge("LA", (Image.fromarray(grey), Image.new("L", (16, 16), 255))),
        "P.png": Image.fromarray(grey).convert("P"),
        "CMYK.jpg": Image.fromarray(grey).convert("RGB").convert("CMYK"),
        "I16.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "I16.tiff": Image.fromarray(grey.astype(np.uint16) * 256 + 255),
        "F.tiff": Image.fromarray(grey.astype(np.float32) / 255),
        "RGBA.png": Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 255)])),
    }
    for name, image in cases.items():
        image.save(tmp_path / name)
        found = load(tmp_path / name)
        assert found.shape == (16, 16, 3), name
        tolerance = 6 if name == "CMYK.jpg" else 0
        assert np.abs(found.astype(int) - grey[:, :, None]).max() <= tolerance, name


def test_one_bit_is_black_and_white(tmp_path: Path, rng: np.random.Generator) -> None:
    bits = rng.random((9, 13)) < 0.5
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(tmp_path / "a.png"), np.dstack([bits * np.uint8(255)] * 3))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_of_sixteen_bits_the_upper_eight_are_kept(
    tmp_path: Path, rng: np.random.Generator, colour: int, channels: int
) -> None:
    levels = rng.integers(0, 65536, (7, 5, channels), np.uint16)
    if channels in (2, 4):
        levels[:, :, -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    (tmp_path / "a.png").write_bytes(png(5, 7, 16, colour, rows))
    shades = levels[:, :, : 1 if channels < 3 else 3]
    np.testing.assert_array_equal(
        load(tmp_path / "a.png"), np.broadcast_to(shades >> 8, (7, 5, 3)).astype(np.uint8)
    )


def test_a_clear_level_of_sixteen_bits_is_paper(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + np.array([1000, 1001], ">u2").tobytes() for _ in range(2))
    clear = [(b"tRNS", struct.pack(">H", 1000))]
    (tmp_path / "a.png").write_bytes(png(2, 2, 16, 0, rows, clear))
    np.testing.assert_array_equal(load(tmp_path / "a.png")[:, :, 0], [[255, 3], [255, 3]])


def test_floats_beyond_their_range_are_clipped(tmp_path: Path) -> None:
    values = np.array([[np.nan, -1, 0, 0.5, 1, 7, np.inf, -np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    found = load(tmp_path / "a.tiff")[0, :, 0]
    np.testing.assert_array_equal(found, [0, 0, 0, 128, 255, 255, 255, 0])


def test_ink_without_a_profile_is_taken_off_white(tmp_path: Path, rng: np.random.Generator) -> None:
    inks = rng.integers(0, 256, (6, 5, 4), np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tiff")
    white = 255.0 - inks
    expected = white[:, :, :3] * white[:, :, 3:] / 255
    assert np.abs(load(tmp_path / "a.tiff") - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_a_wide_profile_becomes_srgb(tmp_path: Path, mode: str) -> None:
    shades = np.array([[[200, 100, 50], [128, 128, 128], [90, 160, 140], [255, 255, 255]]])
    image = Image.fromarray(shades.astype(np.uint8))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png", icc_profile=P3_PROFILE)
    expected = encoded(decoded(shades) @ P3_TO_SRGB.T)
    assert np.abs(load(tmp_path / "a.png") - expected).max() <= 2
    assert np.abs(shades - expected).max() > 10, "the profile makes no difference"


def test_a_profile_that_is_none_is_left_out(tmp_path: Path, picture: U8) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=b"nothing of the kind")
    np.testing.assert_array_equal(load(tmp_path / "a.png"), picture)


def test_samples_without_a_stated_white_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(UnsupportedFormat, match=r"a\.tiff has integers of 32 bits"):
        load(tmp_path / "a.tiff")


# Row I4: what is transparent lies on white.


def test_transparent_pixels_lie_on_white(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (9, 7, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    share = pixels[:, :, 3:] / 255
    expected = share * pixels[:, :, :3] + (1 - share) * 255
    assert np.abs(load(tmp_path / "a.png") - expected).max() <= 1
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(load(tmp_path / "p.png"), [[[255] * 3, [40, 50, 60]]])


# Row I5: a file that is cut short.

WRITERS = {
    "jpg": {"quality": 90}, "progressive.jpg": {"quality": 90, "progressive": True},
    "png": {}, "webp": {"quality": 90}, "lossless.webp": {"lossless": True}, "bmp": {}, "tiff": {},
    "lzw.tiff": {"compression": "tiff_lzw"},
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_picture_cut_short_is_refused_or_whole(tmp_path: Path, picture: U8, name: str) -> None:
    path = tmp_path / f"whole.{name}"
    Image.fromarray(np.tile(picture, (4, 4, 1))).save(path, **WRITERS[name])
    expected, data = load(path), path.read_bytes()
    refused = 0
    for percent in range(1, 100):
        path.write_bytes(data[: len(data) * percent // 100])
        found = _loaded(path)
        if isinstance(found, MienError):
            refused += 1
            assert isinstance(found, TruncatedImage | DecodeError | UnsupportedFormat)
            assert "whole" in str(found)
            assert "\n" not in str(found)
        else:
            np.testing.assert_array_equal(found, expected)
    assert refused >= 90, "a cut that takes pixels away went unnoticed"


def _loaded(path: Path) -> U8 | MienError:
    try:
        return load(path)
    except MienError as error:
        return error


def test_a_jpeg_without_its_last_part_is_called_cut_short(tmp_path: Path, picture: U8) -> None:
    path = save(np.tile(picture, (8, 8, 1)), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(TruncatedImage, match="ends before the picture does"):
        load(path)


# Row I6: nothing of the picture before shows in a damaged one.


def test_a_damaged_picture_shows_nothing_of_the_one_before(
    tmp_path: Path, rng: np.random.Generator, smooth: U8
) -> None:
    whole = bytearray(save(smooth, tmp_path / "good.jpg").read_bytes())
    start = whole.index(b"\xff\xda") + 20
    for path, shade in ((tmp_path / "black.jpg", 0), (tmp_path / "white.jpg", 255)):
        save(np.full_like(smooth, shade), path)
    outcomes: set[str] = set()
    for trial in range(20):
        damaged = bytearray(whole)
        for at in rng.integers(start, len(whole) - 2, 6):
            damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / "damaged.jpg").write_bytes(damaged)
        first, second = (
            _outcome(tmp_path / before, tmp_path / "damaged.jpg")
            for before in ("black.jpg", "white.jpg")
        )
        assert first == second, trial
        outcomes.add(first)
    assert len(outcomes) > 1


def _outcome(before: Path, path: Path) -> str:
    load(before)
    found = _loaded(path)
    return found.code if isinstance(found, MienError) else found.tobytes().hex()


# Row I7: what no decoder is asked to look at.


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"8BPS\0\1", "PSD"),
        (b"GIF89a\xff\xff\xff\xff", "GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"P6 2 2 255\n", "not a picture of a known format"),
    ],
)
def test_other_formats_are_named_and_no_decoder_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, name: str
) -> None:
    def decoder(*_: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr(Image, "open", decoder)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.__init__", decoder)
    (tmp_path / "a.jpg").write_bytes(head + bytes(100))
    with pytest.raises(UnsupportedFormat, match=f"{name}.*JPEG, PNG"):
        load(tmp_path / "a.jpg")


# Row I8: odd arrays and odd files.


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.uint16, np.float32, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_is_taken_as_it_is_or_refused(array: NDArray[np.generic]) -> None:
    fits = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size
    if fits:
        np.testing.assert_array_equal(as_rgb(array), array)  # type: ignore[arg-type]
    else:
        with pytest.raises(InputError, match="expected"):
            as_rgb(array)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((4, 4, 3), np.nan), "float64"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (Picture(np.zeros((4, 4, 3), np.float32)), "float32"),  # type: ignore[arg-type]
        (None, "NoneType"),
    ],
)
def test_wrong_arrays_are_named(array: U8, text: str) -> None:
    with pytest.raises(InputError, match=text):
        as_rgb(array)


def test_strided_arrays_are_taken(picture: U8) -> None:
    np.testing.assert_array_equal(as_rgb(picture[::-1, ::-2]), picture[::-1, ::-2])
    assert as_rgb(picture[::-1, ::-2]).flags.c_contiguous
    turned = np.asfortranarray(picture)
    assert as_rgb(turned).flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1)])
def test_thin_pictures_are_read(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 7, np.uint8)
    np.testing.assert_array_equal(load(save(pixels, tmp_path / "a.png")), pixels)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DecodeError, match=r"a\.png is empty"):
        load(tmp_path / "a.png")


@given(st.binary(min_size=1, max_size=300), st.sampled_from(list(headers(3, 2))))
def test_any_bytes_after_an_honest_head_end_in_a_typed_error(
    scratch: Path, data: bytes, name: str
) -> None:
    (scratch / name).write_bytes(headers(3, 2)[name] + data)
    found = _loaded(scratch / name)
    assert "\n" not in str(found) if isinstance(found, MienError) else found.dtype == np.uint8


# Row I9: paths.


@pytest.mark.parametrize("name", ["père 😀 漢字.png", "two\nlines.png", f"{'x' * 240}.png", " "])
def test_any_name_will_do(tmp_path: Path, picture: U8, name: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    (tmp_path / name).write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(load(tmp_path / name), picture)
    (tmp_path / name).write_bytes(buffer.getvalue()[:60])
    with pytest.raises(InputError) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", tmp_path / "missing.png", "a\0b",
                 tmp_path / ("y" * 5000)):  # fmt: skip
        with pytest.raises(DecodeError) as caught:
            load(path)
        assert len(str(caught.value)) < 500


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path, picture: U8) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save(picture, tmp_path / "no folder" / "a.png")
    with pytest.raises(InputError, match=r"Name it \.png"):
        save(picture, tmp_path / "a.gif")
    with pytest.raises(InputError, match="cannot be written"):
        save(np.zeros((1, 20_000, 3), np.uint8), tmp_path / "a.webp")  # WebP ends at 16383 px
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written") as caught:
        save(np.zeros((4, 4, 3), np.uint8), tmp_path / "none" / "a.png")
    assert caught.value.hint == f"Make the folder {tmp_path / 'none'}"
