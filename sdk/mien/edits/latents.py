"""Arithmetic on W+ codes: which layers, and mixing two codes in them. No network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits.ranges import Range, chosen
from mien.errors import CorruptFile, InputError
from mien.whole_files import replacing

F32 = NDArray[np.float32]

# StyleGAN's own words (Karras et al. 2019, section 3.1): coarse is 4 and 8 px (pose, face shape),
# middle 16 and 32 px (features), fine 64 px and up (colours, texture).
COARSE_LAYERS = 4
MIDDLE_LAYERS = 8

MAKE_ONE = "Make one: mien project PHOTO -o CODE.npy"
SMALLEST_PX = 4

Layers = Range


def layer_range(layers: Layers, count: int) -> tuple[int, ...]:
    """Return the layers that are meant, sorted, of a code with `count` layers.

    Args:
        layers: "coarse", "middle", "fine", "all"; "9-17", "0,4-7"; "64px+", "4-8px", "16px"; a
            number; or numbers. Resolutions are those at which StyleGAN2 uses a layer's code
            (`layer_px`); the names keep StyleGAN's count, two layers a resolution.
        count: layers of the code: 2 log2(resolution) - 2.

    Raises:
        InputError: not understood, or a layer outside 0 .. count - 1.
    """
    names = {
        "coarse": range(min(COARSE_LAYERS, count)),
        "middle": range(COARSE_LAYERS, min(MIDDLE_LAYERS, count)),
        "fine": range(MIDDLE_LAYERS, count),
        "all": range(count),
    }
    resolutions = [layer_px(i, count) for i in range(count)]
    return chosen(layers, names, resolutions, noun="layer", owner="code")


def layer_px(layer: int, count: int) -> int:
    """Return the resolution in px at which StyleGAN2 uses a layer of a code with `count` layers.

    Layer 0 serves 4 px, then two serve each resolution; the last one only colours the picture.
    """
    return int(SMALLEST_PX << (min(layer, count - 2) + 1) // 2)


def as_code(code: ArrayLike, name: str = "code") -> F32:
    """Return code as float32 [L, D] or [N, L, D]. Raises InputError where it is neither."""
    array = np.asarray(code, dtype=np.float32)
    if array.ndim not in (2, 3):
        raise InputError(
            f"{name} has shape {array.shape}, expected a W+ code [L, D] or [N, L, D]",
            hint="Pass what studio.project or studio.sample returns",
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity", hint="Project the photograph again")
    return array


def layer_mask(layers: Layers, count: int) -> NDArray[np.bool_]:
    """Return which layers are chosen, [L]."""
    mask = np.zeros(count, np.bool_)
    mask[list(layer_range(layers, count))] = True
    return mask


def layer_weights(layers: Layers, count: int, psi: ArrayLike = 0.0) -> F32:
    """Weight of the first code in each layer [L]: psi in the chosen layers, 1 elsewhere.

    Raises InputError where psi is neither a number nor one number for each of the L layers.
    """
    levels = np.asarray(psi, np.float32)
    if levels.shape not in ((), (count,)) or not np.isfinite(levels).all():
        raise InputError(
            f"psi has shape {levels.shape}, expected a number, or {count} of them, all finite",
            hint="Give one for each layer of the code; those of other layers are not used",
        )
    return np.where(layer_mask(layers, count), levels, np.float32(1)).astype(np.float32)


def mix(
    content: ArrayLike,  # [L, D] or [N, L, D]
    style: ArrayLike,  # [L, D] or [N, L, D]
    *,
    layers: Layers = "fine",
    psi: ArrayLike = 0.0,  # a number, or [L]
) -> F32:  # shape of content
    """Take the chosen layers of content from style (Karras et al. 2019, section 3.1).

    w = style + psi (content - style) in the chosen layers, content in the others: psi weights the
    content. 0 takes the layer from style, 1 changes nothing, below 0 extrapolates past style. A
    sequence [L] gives each layer its own; those of layers that are not chosen are not used.

    Raises:
        InputError: codes of different generators, or layers that do not exist.
    """
    a, b = as_code(content, "content"), as_code(style, "style")
    if a.shape[-2:] != b.shape[-2:]:
        raise InputError(
            f"style has shape {b.shape[-2:]} and content {a.shape[-2:]} (layers, width)",
            hint="Project both with the same generator",
        )
    weights = layer_weights(layers, a.shape[-2], psi)[:, None]  # [L, 1]
    # Rounded once where weights are 0 and 1, so that untouched layers keep their bits.
    return np.where(weights == 1, a, b + weights * (a - b)).astype(np.float32)


def save_code(code: ArrayLike, path: str | Path) -> Path:
    """Write a W+ code [L, D] as a NumPy file; nothing half-written is left."""
    path = Path(path)
    if path.suffix != ".npy":
        raise InputError(f"{path.name} is not named as a code", hint="Name it FILE.npy")
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, as_code(code))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return path


def load_code(path: str | Path) -> F32:
    """Read a W+ code that `mien project` or `save_code` wrote, [L, D]."""
    return as_code(read_npy(Path(path), "W+ code", MAKE_ONE), str(path))


def read_npy(path: Path, what: str, remedy: str) -> NDArray[np.floating]:
    """Read the floats of a NumPy file. Raises CorruptFile, which says what was expected."""
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except OSError as error:
        raise CorruptFile(
            f"{path} cannot be read: {error.strerror or error}", hint="Check the path"
        ) from error
    except Exception as error:  # a damaged header makes NumPy's parser raise what it likes
        raise CorruptFile(f"{path} is not a {what}, a file of NumPy", hint=remedy) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise CorruptFile(f"{path} holds no array of floats", hint=remedy)
    return array


def stack(codes: Sequence[ArrayLike]) -> F32:
    """Stack codes [L, D] to a batch [N, L, D]."""
    return np.stack([as_code(code) for code in codes])
