"""Flat state dicts: a network's tensors by name, from any file that holds just that."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import safetensors

from mien_engines.errors import ArchMismatch, CorruptFile
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.faults import listed, shown, typed_errors
from mien_export.checkpoints.identify import File, read_file
from mien_export.checkpoints.tensors import BFLOAT16, F32, arrays, elements, finite, tensor_views

WRAPPERS = ("state_dict", "model", "params_ema", "params")
# safetensors' name of a dtype -> its elements.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "|b1",
}


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's tensors, float32, and the file they came from."""

    tensors: dict[str, F32]
    format: str  # "torch" or "safetensors"
    sha256: str


def read_weights(path: Path) -> Weights:
    """Read a state dict with what a bundle records of its file. Raises InputError, ModelError."""
    with typed_errors(path):
        file = read_file(path)
        tensors = _from_safetensors(file) if file.kind == "safetensors" else _from_torch(file)
        return Weights(tensors, file.kind, file.sha256)


def read_state_dict(path: Path) -> dict[str, F32]:
    """Return the tensors of a state dict, as float32. Raises InputError, ModelError."""
    return read_weights(path).tensors


def read_safetensors(path: Path) -> dict[str, F32]:
    """Return the tensors of a safetensors file, as float32. Raises InputError, ModelError."""
    with typed_errors(path):
        file = read_file(path)
        if file.kind != "safetensors":
            raise ArchMismatch(f"{file.name} is a {file.kind} file, expected safetensors")
        return _from_safetensors(file)


def _from_torch(file: File) -> dict[str, F32]:
    if file.kind != "torch":
        raise ArchMismatch(
            f"{file.name} is a pickle that torch.save did not write, expected a state dict",
            hint="Save one: torch.save(model.state_dict(), ...)",
        )
    content = read_torch(file.data)
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    views = tensor_views(content)
    if not views:
        found = listed(content) if isinstance(content, dict) else shown(content)
        raise ArchMismatch(
            f"{file.name} holds no tensors by name, but {found}", hint="Name a state dict"
        )
    return arrays(views)


def _from_safetensors(file: File) -> dict[str, F32]:
    tensors: dict[str, F32] = {}
    for name, entry in safetensors.deserialize(file.data):  # type: ignore[no-untyped-call]
        dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if dtype is None:
            raise CorruptFile(
                f"tensor {shown(name)} has dtype {entry['dtype']}, which is not read",
                hint="Save it as float32",
            )
        flat = elements(entry["data"], dtype, prod(shape))
        tensors[name] = finite(name, flat.reshape(shape))
    return tensors
