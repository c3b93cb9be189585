"""Pictures in and out: uint8 RGB [H, W, 3], sRGB, 0..255, upright.

Files are read with Pillow, and only those of five formats; sizes are looked at before anything is
decoded. Pictures that mien made say so in their metadata (IPTC digital source type).
"""

from __future__ import annotations

import io
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

import mien
from mien.errors import DecodeError, InputError, TooLarge, TruncatedImage, UnsupportedFormat

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
PAPER = (255, 255, 255)  # what shows through transparent pixels
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

U8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, uint8 RGB [H, W, 3]; NumPy functions take it in the array's place."""

    array: U8
    edits: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.array.shape[1], self.array.shape[0]

    def save(self, path: str | Path) -> Path:
        """Write PNG, JPEG or WebP, by suffix."""
        return save(self.array, path, edits=self.edits)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        Pillow.fromarray(self.array).save(buffer, "PNG")
        return buffer.getvalue()


Image = Picture | str | Path | U8


def as_rgb(image: Image) -> U8:
    """Return image as contiguous uint8 RGB [H, W, 3]: a path is read, an array is checked.

    Raises InputError for arrays of another dtype or shape, and what `load` raises.
    """
    if isinstance(image, Picture):
        return image.array
    if isinstance(image, str | Path):
        return load(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise InputError(
            f"the picture is {found}, expected uint8 RGB", hint="Scale floats to 0..255 first"
        )
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f"the picture has shape {image.shape}, expected [height, width, 3]",
            hint="Convert it to RGB first",
        )
    return np.ascontiguousarray(image)


def load(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> U8:
    """Read a picture file: JPEG, PNG, WebP, BMP or TIFF.

    The EXIF orientation is applied, embedded colour profiles are converted to sRGB, transparent
    pixels are laid on white, 16 bits are scaled to 8, and float samples are taken as 0..1.

    Raises:
        DecodeError: no such file, or not a picture. UnsupportedFormat: of another format.
        TooLarge: more than max_pixels, found in the header. TruncatedImage: the file is cut short.
    """
    path = Path(path)
    _check_file(path)
    try:
        with Pillow.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > max_pixels:
                raise TooLarge(
                    f"{path} has {opened.width} x {opened.height} px, "
                    f"more than {max_pixels / 1e6:.0f} million",
                    hint="Scale it down first",
                )
            opened.load()
            return np.asarray(_srgb(ImageOps.exif_transpose(opened)))
    except UnidentifiedImageError as error:
        raise UnsupportedFormat(
            f"{path} is not a picture of a known format",
            hint=f"Those that are read: {', '.join(FORMATS)}",
        ) from error
    except Pillow.DecompressionBombError as error:
        raise TooLarge(f"{path}: {error}", hint="Scale it down first") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise TruncatedImage(
                f"{path} ends before the picture does", hint="Copy or download it again"
            ) from error
        raise DecodeError(
            f"{path} cannot be decoded: {error}", hint="Is the file damaged?"
        ) from error


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path} cannot be read: {error}", hint="Check the path") from error
    if not stat.S_ISREG(mode):
        raise DecodeError(f"{path} is not a file", hint="Name a picture file")


def _srgb(image: Pillow.Image) -> Pillow.Image:
    """Convert any mode to 8-bit sRGB."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        image = Pillow.fromarray((levels // 257).clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        levels = np.nan_to_num(np.asarray(image)).clip(0, 1)
        image = Pillow.fromarray((levels * 255).round().astype(np.uint8))
    profile = image.info.get("icc_profile")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Pillow.new("RGBA", image.size, (*PAPER, 255))
        image = Pillow.alpha_composite(paper, image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _from_profile(image, profile)
    return image.convert("RGB")


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


def save(image: U8, path: str | Path, *, edits: Sequence[str] = ()) -> Path:
    """Write image, uint8 RGB [H, W, 3], as PNG, JPEG or WebP, by suffix.

    The file says that it was made with mien, by which edits, and that it is synthetic in part
    (IPTC digitalSourceType). What stood at path stays until the new file is whole.

    Raises InputError for another suffix, or where it cannot be written.
    """
    path = Path(path)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path.name}: pictures are not written as {path.suffix or 'a file without suffix'}",
            hint=f"Name it {', '.join(SUFFIXES)}",
        )
    partial = path.with_name(f".{path.name}.part")
    try:
        Pillow.fromarray(as_rgb(image)).save(partial, kind, **_marked(kind, edits))
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}", hint="Check the folder"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _marked(kind: str, edits: Sequence[str]) -> dict[str, Any]:
    """The writer's options for each format: quality, and who made the picture."""
    packet = xmp(edits)
    if kind == "PNG":
        text = PngInfo()
        text.add_text("Software", f"mien {mien.__version__}")
        text.add_itxt("XML:com.adobe.xmp", packet)
        return {"pnginfo": text}
    return {"quality": 95, "xmp": packet.encode()}


def xmp(edits: Sequence[str]) -> str:
    """Return the XMP packet that says by what a picture was made, and that it is synthetic."""
    history = escape(", ".join(edits) or "render", quote=True)
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'xmp:CreatorTool="mien {mien.__version__}" dc:description="{history}" '
        f'Iptc4xmpExt:DigitalSourceType="{SYNTHETIC}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
