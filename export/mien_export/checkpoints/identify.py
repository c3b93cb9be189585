"""What a file is, by its content, whatever its name says."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from mien_engines.errors import (
    ArchMismatch,
    CorruptFile,
    InputError,
    LimitExceeded,
    ModelError,
    UnsafeFile,
)

Kind = Literal["torch", "nvlabs-pickle", "safetensors"]
Refusal = tuple[type[ModelError], str, str]  # error, what was found, hint

EXPECTED = "expected a torch .pt, an NVlabs .pkl or a safetensors file"
MAX_BYTES = 16 << 30
LEGACY_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the magic number, pickled
NEWEST_PROTOCOL = 5
PROTOCOL_0 = re.compile(rb"c[\w.]+\n[\w.]+\n|[(\]})]")  # a global's name, or an opening
SAVE_THE_STATE = "Save the state dict instead: torch.save(model.state_dict(), ...)"


@dataclass(frozen=True)
class File:
    """A file's bytes, read once: what is identified and hashed is what is parsed."""

    name: str
    kind: Kind
    data: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def read_file(path: Path) -> File:
    """Read a file of a known kind. Raises InputError, ModelError."""
    data = read_bytes(path)
    return File(path.name, identify(path.name, data), data)


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file of at most limit bytes. Raises InputError, LimitExceeded."""
    try:
        if not path.is_file():
            raise InputError(f"{path} is not a file", hint="Check the path")
        if path.stat().st_size > limit:
            raise LimitExceeded(f"{path.name} is larger than {limit:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path"
        ) from error


def is_safetensors(path: Path) -> bool:
    """Whether a file is of that kind, for families that read ONNX as well; False for no file."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        return _has_header(head, path.stat().st_size)
    except OSError:
        return False


def _has_header(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def identify(name: str, data: bytes) -> Kind:
    """Return what can be read. Raises one error that names what was found instead."""
    # First: the length that such a file begins with may look like the beginning of another kind.
    if _has_header(data[:9], len(data)):
        return "safetensors"
    refusal = _refusal(data)
    if refusal is not None:
        error_type, found, hint = refusal
        raise error_type(f"{name} is {found}, {EXPECTED}", hint=hint)
    if data.startswith(b"PK"):
        return "torch"
    if data.startswith(LEGACY_TORCH):
        return "torch"
    if data[:1] == b"\x80" and data[1:2] <= bytes([NEWEST_PROTOCOL]):
        return "nvlabs-pickle"
    raise CorruptFile(f"{name} is of no known kind, {EXPECTED}")


def _refusal(data: bytes) -> Refusal | None:
    if not data:
        return CorruptFile, "empty", "Copy or download it again"
    text = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return CorruptFile, "a web page", "The download was refused or redirected; fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return CorruptFile, "a git-lfs pointer", "Fetch the file itself: git lfs pull"
    if data.startswith(b"\x89HDF"):
        return UnsafeFile, "an HDF5 file (Keras), which can hold code", "Name a torch checkpoint"
    if data.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x78\x9c")):
        return CorruptFile, "a compressed file", "Unpack it first"
    if _is_onnx(data[:3]):
        return ArchMismatch, "an ONNX graph", "Wrap it: mien export generic FILE.onnx"
    if data.startswith(b"PK"):
        return _zip_refusal(data)
    if PROTOCOL_0.match(data):
        hint = "Do not load it: it can only be meant to run code"
        return UnsafeFile, "a pickle of protocol 0, which no checkpoint uses", hint
    return None


def _is_onnx(head: bytes) -> bool:
    """Field 1 of a ModelProto is its version; the producer, the domain or the graph follows."""
    return (
        len(head) == 3 and head[0] == 0x08 and head[1] < 32 and head[2] in b"\x12\x1a\x22\x3a\x42"
    )


def _zip_refusal(data: bytes) -> Refusal | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name.split("/", 1)[-1] for name in archive.namelist()}
    except Exception:  # zipfile raises half a dozen kinds for damaged directories
        return CorruptFile, "a damaged archive", "Copy or download it again"
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        return UnsafeFile, "a TorchScript archive, which is a program", SAVE_THE_STATE
    if any(part.startswith(("models/", "serialized_exported_program")) for part in parts):
        return UnsafeFile, "a torch.export archive, which is a program", SAVE_THE_STATE
    if "data.pkl" not in parts:
        return CorruptFile, "a zip without data.pkl", "Is it a torch.save file?"
    return None
