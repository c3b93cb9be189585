"""Picture files in: uint8 RGB [H, W, 3], sRGB, upright.

Only five formats are read, each told by its first bytes before a decoder is touched. The size is
looked at in the header, before anything is decoded.
"""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mien.errors import DecodeError, TooLarge, TruncatedImage, UnsupportedFormat

U8 = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
PAPER = (255, 255, 255)  # what shows through transparent pixels
HEAD = 32  # bytes that tell a format
NAMED = 200  # letters of a path that a message shows

# EXIF orientation -> what makes the picture upright.
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
# What people have instead, told by its first bytes from the offset on.
OTHERS = (
    ("HEIC", 4, b"ftyphei"), ("HEIC", 4, b"ftypmif1"), ("AVIF", 4, b"ftypavi"), ("GIF", 0, b"GIF8"),
    ("PDF", 0, b"%PDF"), ("PostScript", 0, b"%!PS"), ("PSD", 0, b"8BPS"), ("FITS", 0, b"SIMPLE"),
    ("JPEG XL", 0, b"\xff\x0a"), ("JPEG XL", 4, b"JXL "), ("JPEG 2000", 4, b"jP  "),
    ("SVG", 0, b"<svg"), ("SVG", 0, b"<?xml"), ("an HTML page", 0, b"<!DOCTYPE"),
    ("an HTML page", 0, b"<html"), ("a Git LFS pointer", 0, b"version https://git-lfs"),
)  # fmt: skip


def load(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> U8:
    """Read a picture file: JPEG, PNG, WebP, BMP or TIFF; of several frames the first.

    The EXIF orientation is applied. Embedded colour profiles are converted to sRGB. Transparent
    pixels are laid on white. Of 16 bits the upper 8 are kept. Float samples are taken as 0..1,
    NaN as 0. CMYK without a profile becomes (1 - ink)(1 - black).

    Raises:
        DecodeError: no such file, or damaged. UnsupportedFormat: of another format.
        TooLarge: more than max_pixels, found in the header. TruncatedImage: the file is cut short.
    """
    path = Path(path)
    check_file(path, "a picture file")
    try:
        with path.open("rb") as file:
            return _read(path, file, max_pixels)
    except OSError as error:
        raise _fault(path, error) from error


def load_bytes(data: bytes, *, name: str = "the picture", max_pixels: int = MAX_PIXELS) -> U8:
    """Read a picture that is in memory, as `load` reads a file; name: for messages."""
    if not data:
        raise DecodeError(f"{name} is empty", hint="Send the file's bytes")
    return _read(Path(name), io.BytesIO(data), max_pixels)


def _read(path: Path, file: BinaryIO, max_pixels: int) -> U8:
    try:
        with _reader(path, file) as opened:
            _check_header(path, opened, max_pixels)
            opened.load()
            return np.array(_upright(_srgb(opened), _orientation(opened)))
    except (TooLarge, UnsupportedFormat):
        raise
    except Exception as error:  # a decoder fails on damaged bytes in ways that no list is sure of
        raise _fault(path, error) from error


def shown(path: Path) -> str:
    """A path on one line of a message: without line breaks, and not longer than can be read."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))
    return text if len(text) <= NAMED else f"{text[: NAMED // 2]}...{text[-NAMED // 2 :]}"


def check_file(path: Path, what: str) -> None:
    """Raise DecodeError where path is not `what`, such as a picture file: missing, or no file."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DecodeError(f"{shown(path)} cannot be read: {why}", hint="Check the path") from error
    if not stat.S_ISREG(found.st_mode):
        raise DecodeError(f"{shown(path)} is not a file", hint=f"Name {what}")
    if not found.st_size:
        raise DecodeError(f"{shown(path)} is empty", hint="Copy or download it again")


def _reader(path: Path, file: BinaryIO) -> ImageFile.ImageFile:
    """Return the reader of the file's format, which has read its header.

    Pillow.open would do the same, but warn of pictures that max_pixels allows.
    """
    head = file.read(HEAD)
    file.seek(0)
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile(file)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile(file)
    if head.startswith(b"BM"):
        return BmpImageFile(file)
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImageFile(file)
    looks = next((name for name, at, mark in OTHERS if head[at:].startswith(mark)), None)
    raise UnsupportedFormat(
        f"{shown(path)} is {looks or 'not a picture of a known format'}",
        hint=f"Those that are read: {', '.join(FORMATS)}",
    )


def _check_header(path: Path, opened: Pillow.Image, max_pixels: int) -> None:
    if opened.width * opened.height > max_pixels:
        raise TooLarge(
            f"{shown(path)} has {opened.width} x {opened.height} px, "
            f"more than {max_pixels / 1e6:.0f} million",
            hint="Scale it down first",
        )
    if opened.mode == "I":
        raise UnsupportedFormat(
            f"{shown(path)} has integers of 32 bits, whose white is not stated",
            hint="Save it with 8 or 16 bits",
        )


def _fault(path: Path, error: Exception) -> DecodeError | TooLarge | TruncatedImage:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    # "Decompressed data too large" is a text or a profile in a PNG that unpacks to megabytes.
    if isinstance(error, Pillow.DecompressionBombError | MemoryError) or "too large" in text:
        return TooLarge(f"{shown(path)}: {text}", hint="Scale it down, or save it anew")
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return TruncatedImage(
            f"{shown(path)} ends before the picture does", hint="Copy or download it again"
        )
    return DecodeError(f"{shown(path)} cannot be decoded: {text}", hint="Is the file damaged?")


def _orientation(image: Pillow.Image) -> int:
    try:
        return int(image.getexif().get(Base.Orientation, 1))
    except Exception:  # EXIF that cannot be read says nothing, as in every viewer
        return 1


def _upright(image: Pillow.Image, orientation: int) -> Pillow.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _srgb(image: Pillow.Image) -> Pillow.Image:
    """Convert any mode to 8-bit sRGB."""
    profile = image.info.get("icc_profile")
    image = _eight_bits(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Pillow.new("RGBA", image.size, (*PAPER, 255))
        image = Pillow.alpha_composite(paper, image).convert("RGB")
    elif image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    if profile:
        image = _from_profile(image, profile)
    return image.convert("RGB")


def _eight_bits(image: Pillow.Image) -> Pillow.Image:
    """Convert grey samples of 16 bits and floats. Colours of 16 bits are read as 8 by Pillow, which
    keeps the upper ones too."""
    if image.mode.startswith("I;16"):
        levels = np.asarray(image)
        grey = Pillow.fromarray((levels >> 8).astype(np.uint8))
        clear = image.info.get("transparency")  # the one level that is not to be seen
        if clear is None:
            return grey
        return Pillow.merge(
            "LA", (grey, Pillow.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
        )
    if image.mode == "F":
        unit = np.nan_to_num(np.asarray(image), nan=0.0).clip(0, 1)
        return Pillow.fromarray((unit * 255).round().astype(np.uint8))
    return image


def _from_profile(image: Pillow.Image, profile: bytes) -> Pillow.Image:
    """Convert colours from an embedded profile. A profile that cannot be used is left out, since
    the picture without it is what every other program shows."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image
