"""Pictures in and out: uint8 RGB [H, W, 3], sRGB, 0..255, upright.

Files are read by `mien.decode`. Pictures that mien made say so in their metadata
(`mien.provenance`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from mien import provenance
from mien.decode import load, shown
from mien.errors import InputError
from mien.whole_files import replacing

__all__ = ["Image", "Picture", "as_rgb", "encode", "load", "save"]

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

U8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, uint8 RGB [H, W, 3]; NumPy functions take it in the array's place.

    edits: what was done, in order. sources: what it was done to, as `mien.provenance.digest` names
    it. Both are written into the picture's file.
    """

    array: U8
    edits: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.array.shape[1], self.array.shape[0]

    def save(self, path: str | Path, *, mark: bool = True) -> Path:
        """Write PNG, JPEG or WebP, by suffix. Without mark the file does not say who made it."""
        return save(self.array, path, edits=self.edits, sources=self.sources, mark=mark)

    def encode(self, kind: str = "png", *, mark: bool = True) -> bytes:
        """Return the bytes of a file: "png", "jpeg" or "webp"; as `save` writes them."""
        return encode(self.array, kind, edits=self.edits, sources=self.sources, mark=mark)

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


def save(
    image: U8,
    path: str | Path,
    *,
    edits: Sequence[str] = (),
    sources: Sequence[str] = (),
    mark: bool = True,
) -> Path:
    """Write image, uint8 RGB [H, W, 3], as PNG, JPEG or WebP, by suffix.

    The file says that it was made with mien, by which edits, of which sources, and that it is
    synthetic in part (`mien.provenance`); mark=False leaves that out. What stood at path stays
    until the new file is whole.

    Raises InputError for another suffix, or where it cannot be written.
    """
    path = Path(path)
    kind = check_name(path)
    try:
        made = provenance.of_mien(edits, sources) if mark else None
        with replacing(path) as partial:
            Pillow.fromarray(as_rgb(image)).save(partial, kind, **_options(kind, made))
    except (OSError, ValueError) as error:  # WebP and JPEG hold no side of any length
        why = getattr(error, "strerror", None) or error
        hint = "Save it as .png" if path.parent.is_dir() else f"Make the folder {path.parent}"
        raise InputError(f"{shown(path)} cannot be written: {why}", hint=hint) from error
    return path


def encode(
    image: U8,
    kind: str = "png",
    *,
    edits: Sequence[str] = (),
    sources: Sequence[str] = (),
    mark: bool = True,
) -> bytes:
    """Return the bytes that `save` would write: of a "png", a "jpeg" or a "webp".

    Raises InputError for another kind, or sides that the format does not hold.
    """
    name = SUFFIXES.get(f".{kind}")
    if name is None:
        raise InputError(f"pictures are not written as {kind!r}", hint="png, jpeg or webp")
    made = provenance.of_mien(edits, sources) if mark else None
    buffer = io.BytesIO()
    try:
        Pillow.fromarray(as_rgb(image)).save(buffer, name, **_options(name, made))
    except (OSError, ValueError) as error:
        raise InputError(f"the picture cannot be a {kind}: {error}", hint="Take png") from error
    return buffer.getvalue()


def check_name(path: Path) -> str:
    """Return the format that a picture's name asks for, before work is done for it.

    Raises InputError for another suffix.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{shown(path)}: pictures are not written as {path.suffix or 'a file without suffix'}",
            hint=f"Name it {', '.join(SUFFIXES)}",
        )
    return kind


def _options(kind: str, made: provenance.Provenance | None) -> dict[str, Any]:
    """The writer's options for each format: quality, and who made the picture."""
    quality = {} if kind == "PNG" else {"quality": 95}
    if made is None:
        return quality
    if kind == "PNG":
        text = PngInfo()
        text.add_text("Software", made.software)
        text.add_itxt("XML:com.adobe.xmp", provenance.packet(made).decode())
        return {"pnginfo": text}
    return {**quality, "xmp": provenance.packet(made)}
