"""Edit directions: what is added to a code to change one thing, such as age, pose or a smile.

Directions of others come as [D] or [1, D], the same in every layer (InterFaceGAN, Shen et al. 2020,
arXiv 1907.10786), or as [L, D] or [1, L, D], one for each layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits.latents import F32, Layers, as_code, layer_mask, read_npy
from mien.edits.tensor_files import load_tensors
from mien.edits.torch_tensor import read_tensor
from mien.errors import ArchMismatch, InputError

SUFFIXES = (".npy", ".pt", ".safetensors")
NAMED = "direction"  # which tensor is meant where a safetensors file has several


def as_direction(direction: ArrayLike) -> F32:
    """Return a direction as float32 [1, D] or [L, D].

    Raises InputError where it is neither [D], [1, D], [L, D] nor [1, L, D], or not finite.
    """
    array = np.asarray(direction, dtype=np.float32)
    rows = array[0] if array.ndim == 3 and len(array) == 1 else np.atleast_2d(array)
    if rows.ndim != 2 or not rows.size:
        raise InputError(
            f"the direction has shape {array.shape}, expected [D], [1, D], [L, D] or [1, L, D]",
            hint="Choose one direction of the file, and save it alone",
        )
    if not np.isfinite(rows).all():
        raise InputError("the direction holds NaN or infinity", hint="Find it again")
    return rows


def move(
    code: ArrayLike,  # [L, D] or [N, L, D]
    direction: ArrayLike,  # [D], [1, D], [L, D] or [1, L, D]
    strength: float = 1.0,
    *,
    layers: Layers = "all",
) -> F32:  # shape of code
    """Add strength * direction to the chosen layers of a code; the others keep their bits.

    Raises:
        ArchMismatch: the direction is of another generator.
        InputError: neither a code nor a direction, or layers that do not exist.
    """
    ws = as_code(code)
    mask = layer_mask(layers, ws.shape[-2])
    return moved(ws, matching(as_direction(direction), ws), strength, mask)


def moved(
    ws: F32,  # [..., L, D]
    direction: F32,  # [1, D] or [L, D]
    strength: float,
    mask: NDArray[np.bool_],  # [L]
) -> F32:
    """w + strength * mask * direction (sum in float32), to the bit w where the mask is off."""
    if not np.isfinite(strength):
        raise InputError(f"strength is {strength}, expected a finite number")
    found = np.where(mask[:, None], ws + np.float32(strength) * direction, ws)
    return found.astype(np.float32)


def matching(direction: F32, ws: F32) -> F32:
    """Return direction [1, D] or [L, D]. Raises ArchMismatch where the codes [..., L, D] differ."""
    layers, width = ws.shape[-2:]
    if direction.shape not in ((1, width), (layers, width)):
        raise ArchMismatch(
            f"the direction has shape {direction.shape}, the code {(layers, width)} "
            "(layers, width)",
            hint="It was found with another generator; directions do not carry over",
        )
    return direction


def load_direction(path: str | Path) -> F32:
    """Read a direction, [1, D] or [L, D], from a .npy, .pt or .safetensors file.

    A .pt must hold one tensor; it is read without torch, and nothing in it is run. A .safetensors
    must hold one tensor, or one that is called `direction`.

    Raises:
        UnsafeFile, CorruptFile, LimitExceeded: the file. InputError: its suffix, or no direction.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path.name} is not named as a direction", hint=f"Name a file {', '.join(SUFFIXES)}"
        )
    try:
        if path.suffix == ".npy":
            return as_direction(read_npy(path, "direction", "Save one with numpy.save"))
        return as_direction(read_tensor(path) if path.suffix == ".pt" else _only_tensor(path))
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error


def _only_tensor(path: Path) -> NDArray[np.floating]:
    tensors = load_tensors(path)[0]
    if NAMED not in tensors and len(tensors) != 1:
        raise InputError(
            f"it holds {len(tensors)} tensors, and none is called {NAMED}",
            hint="Save the one that is meant alone",
        )
    return tensors.get(NAMED, next(iter(tensors.values())))
