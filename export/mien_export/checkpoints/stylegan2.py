"""StyleGAN2 checkpoints of NVlabs and of rosinality, under one set of names.

The names are NVlabs' (`mapping.fc0.weight`, `synthesis.b8.conv0.affine.weight`); values are as the
NVlabs layout stores them, before learning-rate gains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.faults import listed, shown, typed_errors
from mien_export.checkpoints.identify import File, read_file
from mien_export.checkpoints.layout import (
    check_shapes,
    mapping_layers,
    refuse_relatives,
    silence_missing_noise,
)
from mien_export.checkpoints.nvlabs import Module, read_generator, state_dict, walk
from mien_export.checkpoints.rosinality import nvlabs_from_rosinality
from mien_export.checkpoints.tensors import F32, arrays, tensor_views

Format = Literal["nvlabs-pkl", "rosinality-pt"]

MAPPING_LR = 0.01


@dataclass(frozen=True, eq=False)
class Stylegan2Checkpoint:
    """A generator's tensors, float32, and where they came from.

    conv_clamp: the bound of activations, None without one. notes: what the user should know.
    """

    tensors: dict[str, F32]
    conv_clamp: float | None
    format: Format
    sha256: str
    notes: tuple[str, ...] = ()


def read_stylegan2(path: Path) -> Stylegan2Checkpoint:
    """Read a StyleGAN2 generator without running any of the file's code.

    Raises:
        InputError: there is no such file.
        UnsafeFile: the file asks for code to be run. CorruptFile: damaged, or of another kind.
        LimitExceeded: it wants more memory or work than a file of its length honestly can.
        ArchMismatch: another network, or a variant that is not served.
        NonFiniteWeights: NaN or infinity in a tensor.
    """
    with typed_errors(path):
        file = read_file(path)
        if file.kind == "nvlabs-pickle":
            tensors, clamp = _from_nvlabs(file)
            return _checked(tensors, clamp, "nvlabs-pkl", file)
        if file.kind == "torch":
            return _checked(_from_rosinality(file), None, "rosinality-pt", file)
        raise ArchMismatch(
            f"{file.name} is a safetensors file, expected an NVlabs .pkl or a rosinality .pt",
            hint="Name the checkpoint it was converted from",
        )


def _checked(
    tensors: dict[str, F32], clamp: float | None, kind: Format, file: File
) -> Stylegan2Checkpoint:
    notes = []
    if "mapping.w_avg" not in tensors:
        notes.append("no mean w in the file: it is estimated from samples")
    if silent := silence_missing_noise(tensors):
        notes.append(f"{silent} layers have no noise in the file: theirs is zero")
    check_shapes(tensors, file.name)
    return Stylegan2Checkpoint(tensors, clamp, kind, file.sha256, tuple(notes))


def _from_nvlabs(file: File) -> tuple[dict[str, F32], float | None]:
    generator = read_generator(file.data, file.name)
    views = state_dict(generator)
    refuse_relatives(views, file.name)
    _check_attributes(generator, file.name)
    return arrays(views), _conv_clamp(generator, file.name)


def _conv_clamp(generator: Module, file: str) -> float | None:
    """The bound of activations, an attribute of the layers. It is one for all, or none."""
    values = [m.state["conv_clamp"] for _, m in walk(generator) if "conv_clamp" in m.state]
    for value in values:
        if value is not None and not _is_bound(value):
            raise ArchMismatch(f"{file} clamps a layer at {shown(value)}, expected a number")
    if any(value != values[0] for value in values):
        raise ArchMismatch(f"{file} clamps its layers at {listed(set(values))}, expected one bound")
    return float(values[0]) if values and values[0] is not None else None


def _is_bound(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 2**31 and math.isfinite(value)


def _check_attributes(generator: Module, file: str) -> None:
    """Refuse what the tensors do not tell, and what would silently compute something else."""
    for path, module in walk(generator):
        is_mapping = path.startswith("mapping.fc")
        expected: dict[str, Any] = {"activation": "linear" if "affine" in path else "lrelu"}
        if is_mapping:
            expected["bias_gain"] = MAPPING_LR
        for name, value in expected.items():
            found = module.state.get(name)
            if isinstance(found, str | float) and found != value:
                raise ArchMismatch(
                    f"{file}: {path}{name} is {shown(found)}, expected {value}",
                    hint="That variant is not served yet",
                )


def _from_rosinality(file: File) -> dict[str, F32]:
    content = read_torch(file.data)
    names = list(content) if isinstance(content, dict) else []
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        refuse_relatives([name for name in names if isinstance(name, str)], file.name)
        raise ArchMismatch(
            f"{file.name} has no g_ema; it holds {listed(names) or shown(content)}",
            hint="Expected rosinality's checkpoint: {'g_ema': ..., 'latent_avg': ...}",
        )
    views = tensor_views(content["g_ema"])
    average = tensor_views(content).get("latent_avg")
    tensors = nvlabs_from_rosinality(arrays(views), file.name)
    if average is not None:
        mean = arrays({"latent_avg": average})["latent_avg"]
        tensors["mapping.w_avg"] = mean.reshape(-1) if mean.shape[:1] == (1,) else mean
    return tensors


def mean_w(tensors: Mapping[str, F32], samples: int, seed: int) -> F32:
    """Return the mean w [w_dim] of `samples` z drawn by numpy's RandomState(seed)."""
    z = np.random.RandomState(seed).randn(samples, tensors["mapping.fc0.weight"].shape[1])
    w = z.astype(np.float32)
    w /= np.sqrt(np.square(w).mean(1, keepdims=True) + 1e-8)
    for i in range(mapping_layers(tensors)):
        weight, bias = tensors[f"mapping.fc{i}.weight"], tensors[f"mapping.fc{i}.bias"]
        gain = np.float32(MAPPING_LR / np.sqrt(weight.shape[1]))
        w = w @ (weight * gain).T + bias * np.float32(MAPPING_LR)
        w = np.where(w < 0, np.float32(0.2) * w, w) * np.float32(np.sqrt(2))
    mean: F32 = w.mean(0)
    return mean
