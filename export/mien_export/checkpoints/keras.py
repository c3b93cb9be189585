"""Weights of Keras, HDF5, of the networks whose layout is this project's own.

Only datasets are read: the model's configuration, which can hold code, is not looked at. Layers are
named as the modules are, with "_" for ".": `encoder_tower_convs_0` holds what the PyTorch file has
under `encoder.tower.convs.0`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien_engines.errors import ArchMismatch, LimitExceeded, UnsafeFile
from mien_export.checkpoints.faults import shown, typed_errors
from mien_export.checkpoints.identify import read_bytes
from mien_export.checkpoints.state_dict import Weights, read_weights
from mien_export.checkpoints.tensors import F32, finite, without_counters

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS, MAX_DEPTH = 10_000, 8
KERAS_EPS, OWN_EPS = 1e-3, 1e-5  # of batch normalisation, neither is stored
# Keras' name of a variable -> ours.
VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def read_own_weights(path: Path, after_maps: tuple[str, ...], to_maps: tuple[str, ...]) -> Weights:
    """Read a state dict without counters, or Keras' weights of the same layers.

    after_maps: linear layers that read flattened maps; to_maps: those whose output becomes maps.
    Keras flattens [H, W, C], PyTorch [C, H, W]: their weights are put in order.
    Raises InputError, ModelError.
    """
    with typed_errors(path):
        data = read_bytes(path)
        if not data.startswith(SIGNATURE):
            read = read_weights(path)
            return replace(read, tensors=without_counters(read.tensors))
        tensors = {}
        for name, value in _variables(data):
            variable = name.rpartition(".")[2]
            tensors[name] = _converted(value, variable)
        for layer in after_maps:
            _reorder_inputs(tensors, layer)
        for layer in to_maps:
            _reorder_outputs(tensors, layer)
        return Weights(tensors, "keras", hashlib.sha256(data).hexdigest())


def _variables(data: bytes) -> Iterator[tuple[str, F32]]:
    """Yield every variable under our name: layer and Keras' variable, dotted."""
    import h5py

    total = 0
    with h5py.File(io.BytesIO(data), "r") as file:
        for path, dataset in _datasets(file, "", [0]):
            *_, layer, variable = path.split("/")
            variable = variable.partition(":")[0]
            if variable not in VARIABLES:
                raise ArchMismatch(
                    f"the file has a variable {shown(variable)} in layer {shown(layer)}",
                    hint=f"Those that are read: {', '.join(VARIABLES)}",
                )
            total += dataset.nbytes
            if total > len(data):
                raise LimitExceeded("the file's tensors would be larger than the file")
            name = f"{layer.replace('_', '.')}.{VARIABLES[variable]}"
            yield name, finite(name, np.asarray(dataset))


def _datasets(group: Any, path: str, seen: list[int]) -> Iterator[tuple[str, Any]]:
    """Walk the groups; links out of the file, and data elsewhere or packed, are refused."""
    import h5py

    for name in group:
        seen[0] += 1
        if seen[0] > MAX_OBJECTS or path.count("/") > MAX_DEPTH:
            raise LimitExceeded(f"the file has more than {MAX_OBJECTS:,} objects, or is too deep")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UnsafeFile(f"the file links {shown(name)} to another place")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            if name != "optimizer_weights":
                yield from _datasets(entry, f"{path}/{name}", seen)
        elif isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual or entry.chunks is not None:
                raise UnsafeFile(f"the file keeps the data of {shown(name)} elsewhere, or packed")
            if entry.dtype.kind == "f":
                yield f"{path}/{name}", entry


def _converted(value: F32, variable: str) -> F32:
    """Put a variable's axes as PyTorch has them."""
    if value.ndim == 4:
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    if value.ndim == 2:
        return np.ascontiguousarray(value.T)
    if variable == "running_var":
        return value + np.float32(KERAS_EPS - OWN_EPS)
    return value


def _reorder_inputs(tensors: dict[str, F32], layer: str) -> None:
    weight = tensors.get(f"{layer}.weight")
    channels = _channels(tensors, "encoder.tower.convs")
    if weight is not None and weight.ndim == 2 and weight.shape[1] % channels == 0:
        side = round((weight.shape[1] / channels) ** 0.5)
        maps = weight.reshape(len(weight), side, side, channels)
        tensors[f"{layer}.weight"] = maps.transpose(0, 3, 1, 2).reshape(len(weight), -1)


def _reorder_outputs(tensors: dict[str, F32], layer: str) -> None:
    decoder = layer.partition(".")[0]
    first = tensors.get(f"{decoder}.convs.0.weight")
    for name in (f"{layer}.weight", f"{layer}.bias"):
        value = tensors.get(name)
        if value is not None and first is not None and len(value) % first.shape[1] == 0:
            channels, rest = first.shape[1], value.shape[1:]
            side = round((len(value) / channels) ** 0.5)
            maps = np.moveaxis(value.reshape(side, side, channels, *rest), 2, 0)
            tensors[name] = np.ascontiguousarray(maps).reshape(value.shape)


def _channels(tensors: Mapping[str, F32], convolutions: str) -> int:
    count = 0
    while f"{convolutions}.{count}.weight" in tensors:
        count += 1
    return int(tensors[f"{convolutions}.{count - 1}.weight"].shape[0]) if count else 1
