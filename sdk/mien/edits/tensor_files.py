"""Small safetensors files: tensors by name, and one record as JSON in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.edits.torch_tensor import MAX_BYTES
from mien.errors import CorruptFile, InputError, LimitExceeded
from mien.whole_files import write_whole

SUFFIX = ".safetensors"


def check_suffix(path: Path, what: str) -> None:
    """Raise InputError where path is not named as such a file. what: "a catalogue"."""
    if path.suffix != SUFFIX:
        raise InputError(f"{path.name} is not named as {what}", hint=f"Name it FILE{SUFFIX}")


def save_tensors(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], header: str, record: Mapping[str, Any]
) -> Path:
    """Write the tensors, and the record under a key of the metadata; nothing half-written.

    Raises InputError where the file cannot be written.
    """
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return write_whole(path, save(whole, {header: json.dumps(record)}))


def load_tensors(path: Path) -> tuple[dict[str, NDArray[np.floating]], dict[str, str]]:
    """Return the tensors and the metadata of a small safetensors file, both by name.

    Raises CorruptFile, LimitExceeded.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > MAX_BYTES:
            raise LimitExceeded(f"{path} is larger than {MAX_BYTES >> 20} MB")
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise CorruptFile(f"{path} is not safetensors: {error}", hint="Copy it again") from error
