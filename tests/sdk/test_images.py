"""Pictures of every kind in, marked pictures out."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import DecodeError, InputError, TooLarge, TruncatedImage, UnsupportedFormat
from mien.images import SYNTHETIC, Picture, as_rgb, load, save


@pytest.fixture
def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (24, 40, 3), np.uint8)


def test_png_survives_bit_for_bit_and_says_who_made_it(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    path = Picture(picture, ("mix",)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(path), picture)
    with Image.open(path) as opened:
        assert opened.text["Software"].startswith("mien ")  # type: ignore[attr-defined]
    assert SYNTHETIC.encode() in path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats_are_marked_too(
    tmp_path: Path, picture: NDArray[np.uint8], suffix: str
) -> None:
    path = save(picture, tmp_path / f"a{suffix}", edits=["project"])
    assert SYNTHETIC.encode() in path.read_bytes()
    assert load(path).shape == picture.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255
    turns = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2), 8: lambda x: np.rot90(x, 3),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turns[orientation](upright))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load(tmp_path / "a.png"), upright)


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 256, 16, np.uint8), (16, 1))
    cases = {
        "L.png": Image.fromarray(grey),
        "LA.png": Image.merge("LA", (Image.fromarray(grey), Image.new("L", (16, 16), 255))),
        "P.png": Image.fromarray(grey).convert("P"),
        "CMYK.jpg": Image.fromarray(grey).convert("RGB").convert("CMYK"),
        "I16.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "F.tiff": Image.fromarray(grey.astype(np.float32) / 255),
        "RGBA.png": Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 255)])),
    }
    for name, image in cases.items():
        image.save(tmp_path / name)
        found = load(tmp_path / name)
        assert found.shape == (16, 16, 3), name
        assert np.abs(found.astype(int) - grey[:, :, None]).max() <= 6, name
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(load(tmp_path / "clear.png"), 255)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    with pytest.raises(TooLarge, match=r"30000 x 30000|exceeds"):
        load(path)


def test_a_picture_cut_short_is_never_half_grey(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    whole = save(np.tile(picture, (8, 8, 1)), tmp_path / "whole.jpg").read_bytes()
    cut = tmp_path / "cut.jpg"
    for percent in (20, 40, 60, 80, 95):
        cut.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises((TruncatedImage, DecodeError)):
            load(cut)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<svg></svg>")
    with pytest.raises(UnsupportedFormat, match="JPEG"):
        load(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing.png", "."):
        with pytest.raises(DecodeError):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
    ],
)
def test_wrong_arrays_are_named(array: NDArray[np.uint8], text: str) -> None:
    with pytest.raises(InputError, match=text):
        as_rgb(array)


def test_strided_arrays_are_taken(picture: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(as_rgb(picture[::-1, ::-2]), picture[::-1, ::-2])


def test_nothing_is_left_where_it_cannot_be_written(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save(picture, tmp_path / "no folder" / "a.png")
    with pytest.raises(InputError, match=r"Name it \.png"):
        save(picture, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
