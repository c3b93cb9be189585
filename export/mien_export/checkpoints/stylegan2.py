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
    Architecture,
    architecture_of,
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
    architecture: Architecture
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
            return _from_nvlabs(file)
        if file.kind == "torch":
            return _checked(_from_rosinality(file), "skip", None, "rosinality-pt", file)
        raise ArchMismatch(
            f"{file.name} is a safetensors file, expected an NVlabs .pkl or a rosinality .pt",
            hint="Name the checkpoint it was converted from",
        )


def _checked(
    tensors: dict[str, F32],
    architecture: Architecture,
    clamp: float | None,
    kind: Format,
    file: File,
) -> Stylegan2Checkpoint:
    notes = []
    if "mapping.w_avg" not in tensors:
        notes.append("no mean w in the file: it is estimated from samples")
    if "mapping.embed.weight" in tensors:
        notes.append("class-conditional: `mapping` takes a label, w_mean is over equal classes")
    if silent := silence_missing_noise(tensors):
        notes.append(f"{silent} layers have no noise in the file: theirs is zero")
    check_shapes(tensors, architecture, file.name)
    return Stylegan2Checkpoint(tensors, architecture, clamp, kind, file.sha256, tuple(notes))


def _from_nvlabs(file: File) -> Stylegan2Checkpoint:
    generator = read_generator(file.data, file.name)
    views = state_dict(generator)
    refuse_relatives(views, file.name)
    architecture = architecture_of(views)
    _check_attributes(generator, architecture, file.name)
    clamp = _conv_clamp(generator, file.name)
    return _checked(arrays(views), architecture, clamp, "nvlabs-pkl", file)


def _conv_clamp(generator: Module, file: str) -> float | None:
    """The bound of activations, an attribute of the layers. It is one for all, or none.

    A resnet's shortcuts have none, which `_check_attributes` makes sure of.
    """
    values = [
        module.state["conv_clamp"]
        for path, module in walk(generator)
        if "conv_clamp" in module.state and not path.endswith(".skip.")
    ]
    for value in values:
        if value is not None and not _is_bound(value):
            raise ArchMismatch(f"{file} clamps a layer at {shown(value)}, expected a number")
    if any(value != values[0] for value in values):
        raise ArchMismatch(f"{file} clamps its layers at {listed(set(values))}, expected one bound")
    return float(values[0]) if values and values[0] is not None else None


def _is_bound(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 2**31 and math.isfinite(value)


def _check_attributes(generator: Module, architecture: Architecture, file: str) -> None:
    """Refuse what the tensors do not tell, and what would silently compute something else."""
    for path, module in walk(generator):
        for name, value in _attributes(path, architecture).items():
            found = module.state.get(name)
            if isinstance(found, str | float | int) and found != value:
                raise ArchMismatch(
                    f"{file}: {path}{name} is {shown(found)}, expected {value}",
                    hint="That variant is not served yet",
                )


def _attributes(path: str, architecture: Architecture) -> dict[str, Any]:
    """What a module keeps beside tensors, as far as the networks here rely on it."""
    if path.startswith("mapping.fc"):
        return {"activation": "lrelu", "bias_gain": MAPPING_LR}
    if path.endswith(".affine.") or path == "mapping.embed.":
        return {"activation": "linear", "bias_gain": 1}
    if path.endswith(".skip."):
        return {"activation": "linear", "conv_clamp": None}
    return {"activation": "lrelu", "architecture": architecture}


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
    """Return the mean w [w_dim] of `samples` z drawn by numpy's RandomState(seed).

    That of a class-conditional network is the mean over its classes as well: every z gets one of
    the labels, all equally likely, drawn after the z.
    """
    embed = tensors.get("mapping.embed.weight")  # [w_dim, labels]
    z_dim = tensors["mapping.fc0.weight"].shape[1] - (0 if embed is None else embed.shape[0])
    random = np.random.RandomState(seed)
    w = _normalised(random.randn(samples, z_dim).astype(np.float32))
    if embed is not None:
        labels = random.randint(embed.shape[1], size=samples)
        gain = np.float32(1 / np.sqrt(embed.shape[1]))
        embedded = (embed.T * gain + tensors["mapping.embed.bias"])[labels]
        w = np.concatenate([w, _normalised(embedded)], 1)
    for i in range(mapping_layers(tensors)):
        weight, bias = tensors[f"mapping.fc{i}.weight"], tensors[f"mapping.fc{i}.bias"]
        gain = np.float32(MAPPING_LR / np.sqrt(weight.shape[1]))
        w = w @ (weight * gain).T + bias * np.float32(MAPPING_LR)
        w = np.where(w < 0, np.float32(0.2) * w, w) * np.float32(np.sqrt(2))
    mean: F32 = w.mean(0)
    return mean


def _normalised(x: F32) -> F32:
    """Scale each row of x [N, D] to mean square 1."""
    scaled: F32 = x / np.sqrt(np.square(x).mean(1, keepdims=True) + np.float32(1e-8))
    return scaled
