"""What a file is, by its first bytes, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from mien_engines.errors import ArchMismatch, CorruptFile, InputError, ModelError, UnsafeFile

Kind = Literal["torch", "nvlabs-pickle", "safetensors"]

EXPECTED = "an NVlabs .pkl or a torch .pt of StyleGAN2"
LEGACY_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the magic number, pickled


def identify(path: Path) -> Kind:
    """Return what can be read. Raises one error that names what was found instead."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path"
        ) from error
    if not size:
        raise CorruptFile(f"{path.name} is empty", hint="Copy or download it again")
    refusal = _refusal(head)
    if refusal is not None:
        error_type, found, hint = refusal
        raise error_type(f"{path.name} is {found}, expected {EXPECTED}", hint=hint)
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(LEGACY_TORCH):
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < min(size, 100 << 20):
        return "safetensors"
    if head[:1] == b"\x80" and head[1] <= 5:
        return "nvlabs-pickle"
    if head[:1] in (b"c", b"(", b"]", b"}"):
        raise UnsafeFile(
            f"{path.name} is a pickle of protocol 0, which no checkpoint uses",
            hint="Do not load it: it can only be meant to run code",
        )
    raise CorruptFile(f"{path.name} is of no known kind, expected {EXPECTED}")


def _refusal(head: bytes) -> tuple[type[ModelError], str, str] | None:
    text = head[:512].lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return CorruptFile, "a web page", "The download was refused or redirected; fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return CorruptFile, "a git-lfs pointer", "Fetch the file itself: git lfs pull"
    if head.startswith(b"\x89HDF"):
        return ArchMismatch, "an HDF5 file (Keras)", "Name a torch checkpoint"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return CorruptFile, "a compressed file", "Unpack it first"
    if head[:1] == b"\x08" and b"ir_version" not in head and b"onnx" in head.lower():
        return ArchMismatch, "an ONNX graph", "It needs no export: it is one already"
    return None


def _zip_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise CorruptFile(
            f"{path.name} is a damaged archive: {error}", hint="Copy or download it again"
        ) from error
    parts = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        raise UnsafeFile(
            f"{path.name} is a TorchScript archive, which is a program, expected {EXPECTED}",
            hint="Save the state dict instead: torch.save(model.state_dict(), ...)",
        )
    if any(part.startswith(("models/", "serialized_exported_program")) for part in parts):
        raise ArchMismatch(
            f"{path.name} is a torch.export program, expected {EXPECTED}",
            hint="Save the state dict instead: torch.save(model.state_dict(), ...)",
        )
    if "data.pkl" not in parts:
        raise CorruptFile(f"{path.name} is a zip without data.pkl, expected {EXPECTED}")
    return "torch"
