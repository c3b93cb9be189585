"""Flat state dicts: a network's tensors by name, from any file that holds just that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mien_engines.errors import ArchMismatch, CorruptFile, NonFiniteWeights
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.identify import identify
from mien_export.checkpoints.tensors import F32, TensorView

WRAPPERS = ("state_dict", "model", "params_ema", "params")


def read_state_dict(path: Path) -> dict[str, F32]:
    """Return the tensors of a state dict, as float32. Raises ModelError."""
    if identify(path) == "safetensors":
        return read_safetensors(path)
    content = read_torch(path)
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    views = tensor_views(content)
    if not views:
        raise ArchMismatch(f"{path.name} holds no tensors by name", hint="Name a state dict")
    return arrays(views)


def read_safetensors(path: Path) -> dict[str, F32]:
    """Return the tensors of a safetensors file, as float32. Raises CorruptFile."""
    try:
        loaded = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CorruptFile(f"{path} is no whole safetensors file: {error}") from error
    return {name: finite(name, value) for name, value in loaded.items()}


def tensor_views(content: Any) -> dict[str, TensorView]:
    """Return the tensors of a dict by name; what is no tensor is left out."""
    items = content.items() if isinstance(content, dict) else ()
    return {k: v for k, v in items if isinstance(k, str) and isinstance(v, TensorView)}


def arrays(views: dict[str, TensorView]) -> dict[str, F32]:
    """Read tensors as float32. Raises CorruptFile, NonFiniteWeights."""
    return {name: finite(name, view.array()) for name, view in views.items()}


def finite(name: str, value: Any) -> F32:
    array: F32 = np.asarray(value).astype(np.float32)
    if not np.isfinite(array).all():
        raise NonFiniteWeights(
            f"tensor {name} holds NaN or infinity",
            hint="The checkpoint is damaged or diverged in training; use another",
        )
    return array
