"""Pictures in and out: uint8 RGB [H, W, 3], sRGB, 0..255, upright.

Files are read by `mien.decode`. Pictures that mien made say so in their metadata (IPTC digital
source type).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

import mien
from mien.decode import load, shown
from mien.errors import InputError

__all__ = ["Image", "Picture", "as_rgb", "load", "save"]

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
        image = image.array
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
            f"{shown(path)}: pictures are not written as {path.suffix or 'a file without suffix'}",
            hint=f"Name it {', '.join(SUFFIXES)}",
        )
    partial = path.with_name(f".{path.name}.part")
    try:
        Pillow.fromarray(as_rgb(image)).save(partial, kind, **_marked(kind, edits))
        partial.replace(path)
    except (OSError, ValueError) as error:  # WebP and JPEG hold no side of any length
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shown(path)} cannot be written: {why}", hint="Check the folder, or save it as .png"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _marked(kind: str, edits: Sequence[str]) -> dict[str, Any]:
    """The writer's options for each format: quality, and who made the picture."""
    packet = _xmp(edits)
    if kind == "PNG":
        text = PngInfo()
        text.add_text("Software", f"mien {mien.__version__}")
        text.add_itxt("XML:com.adobe.xmp", packet)
        return {"pnginfo": text}
    return {"quality": 95, "xmp": packet.encode()}


def _xmp(edits: Sequence[str]) -> str:
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
