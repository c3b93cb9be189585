"""An aligned face on disk: where it lies, and in which photograph; without the picture itself.

The file is JSON: the photograph's name, size and the SHA-256 of its pixels, the crop's size, and
the corners of its square. Reading it back needs the photograph, of which the crop is cut anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.faces.align import MAX_TRANSFORM, AlignedFace, cut
from mien.faces.landmarks import write_json
from mien.faces.quality import Flag

U8 = NDArray[np.uint8]

SUFFIX = ".face.json"  # not .json, which is where a user keeps the landmarks
MAX_BYTES = 1 << 16
ROUNDING = 1e-6  # of the side: how far a quad may be from a square

Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Corner = tuple[Finite, Finite]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Photo(_Record):
    """name: of its file, for people; sha256: see `photo_digest`."""

    name: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FaceRecord(_Record):
    """The whole of FACE.face.json. quad, size and flags are those of `AlignedFace`."""

    kind: Literal["mien aligned face"] = "mien aligned face"
    version: Literal[1] = 1
    photo: Photo
    size: int = Field(ge=1, le=MAX_TRANSFORM)
    quad: tuple[Corner, Corner, Corner, Corner]
    flags: tuple[Flag, ...] = ()

    @model_validator(mode="after")
    def _is_a_square(self) -> Self:
        quad = np.array(self.quad)
        down, right = quad[1] - quad[0], quad[3] - quad[0]
        side = float(np.hypot(*right))
        expected = [quad[0] + down + right, quad[0] + [-right[1], right[0]]]
        apart = np.abs(np.array([quad[2], quad[1]]) - expected).max()
        if not side > 0 or not apart <= ROUNDING * max(side, np.abs(quad).max()):
            raise ValueError("quad is no square")
        return self


def record_path(crop: Path) -> Path:
    """Where the record of a crop lies: beside it, as NAME.face.json."""
    return crop.with_name(crop.stem + SUFFIX)


def photo_digest(photo: U8) -> str:
    """SHA-256 of "WIDTH HEIGHT\\n" and the pixels, uint8 RGB, row by row, as `mien.images.load`
    gives them: a copy with other metadata is the same photograph."""
    digest = hashlib.sha256(f"{photo.shape[1]} {photo.shape[0]}\n".encode())
    digest.update(np.ascontiguousarray(photo).data)
    return digest.hexdigest()


def save_face(face: AlignedFace, photo: U8, path: str | Path, *, name: str = "") -> Path:
    """Write where face lies in photo; name: what the photograph is called. Raises InputError."""
    record = FaceRecord(
        photo=Photo(
            name=name, width=photo.shape[1], height=photo.shape[0], sha256=photo_digest(photo)
        ),
        size=face.size,
        quad=tuple(tuple(corner) for corner in face.quad.tolist()),  # type: ignore[arg-type]
        flags=face.flags,
    )
    return write_json(record.model_dump(mode="json"), path)


def load_face(path: str | Path, photo: U8, *, retouched: bool = False) -> AlignedFace:
    """Read where a face lies, and cut it out of photo again.

    retouched: photo is another version of the same photograph; only its size is compared.

    Raises:
        CorruptFile: not such a file. InputError: it is of another photograph.
    """
    record = _read(Path(path))
    known = record.photo
    if (photo.shape[1], photo.shape[0]) != (known.width, known.height):
        raise InputError(
            f"{shown(Path(path))} is of a photograph of {known.width} x {known.height} px, "
            f"this one has {photo.shape[1]} x {photo.shape[0]}",
            hint=f"Name the photograph that was aligned{_called(known)}",
        )
    if not retouched and photo_digest(photo) != known.sha256:
        raise InputError(
            f"{shown(Path(path))} is of another photograph of the same size",
            hint=f"Name the one that was aligned{_called(known)}, or say that it is the same one "
            "retouched: --retouched, retouched=True",
        )
    return cut(photo, np.array(record.quad, np.float64), size=record.size, flags=record.flags)


def _called(photo: Photo) -> str:
    return f", {shown(Path(photo.name))}" if photo.name else ""


def _read(path: Path) -> FaceRecord:
    hint = "mien align writes one beside the crop: NAME.face.json"
    try:
        if not path.is_file():
            raise CorruptFile(f"there is no file {shown(path)}", hint=hint)
        if path.stat().st_size > MAX_BYTES:
            raise CorruptFile(f"{shown(path)} is larger than any record of a face", hint=hint)
        return FaceRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptFile(
            f"{shown(path)} is no record of a face: {where}: {first['msg']}", hint=hint
        ) from error
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{shown(path)} cannot be read: {error}", hint=hint) from error
