"""Checkpoints of pSp and e4e: an encoder, the generator it was trained with, and a mean code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.faults import listed, shown, sized, typed_errors
from mien_export.checkpoints.identify import File, read_file
from mien_export.checkpoints.tensors import (
    F32,
    TensorView,
    arrays,
    tensor_views,
    without_counters,
)

Network = Literal["psp", "e4e"]

# `opts.encoder_type` -> what computes the codes. Nothing else in a file tells one from the other.
ENCODERS: dict[str, Network] = {"GradualStyleEncoder": "psp", "Encoder4Editing": "e4e"}
PREFIX = "encoder."


@dataclass(frozen=True, eq=False)
class PspCheckpoint:
    """An encoder's tensors, float32, without `encoder.`; `latent_avg` [L, w_dim] is one of them."""

    tensors: dict[str, F32]
    network: Network
    sha256: str


def read_psp(path: Path) -> PspCheckpoint:
    """Read the encoder of a pSp or e4e .pt. The generator beside it is not read.

    Raises InputError, ModelError; ArchMismatch where the file does not say which of the two it is.
    """
    with typed_errors(path):
        file = read_file(path)
        content = _content(file)
        network = _network(content.get("opts"), file.name)
        views = _encoder(content["state_dict"], file.name)
        average = tensor_views(content).get("latent_avg")
        if average is None:
            raise ArchMismatch(
                f"{file.name} has no latent_avg, the mean code that the encoder's codes start from",
                hint="Add it to the file: the mean w [512] of the generator it was trained with",
            )
        tensors = arrays({**views, "latent_avg": average})
        tensors["latent_avg"] = _mean_code(tensors, file.name)
        return PspCheckpoint(tensors, network, file.sha256)


def _content(file: File) -> dict[str, Any]:
    content = read_torch(file.data) if file.kind == "torch" else None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        found = listed(content) if isinstance(content, dict) else f"a {file.kind} file"
        raise ArchMismatch(
            f"{file.name} is no checkpoint of pSp or e4e; found {found}",
            hint="Expected a .pt with state_dict, latent_avg and opts",
        )
    return content


def _network(opts: Any, file: str) -> Network:
    """Return which encoder it is, by the options it was trained with."""
    kind = opts.get("encoder_type") if isinstance(opts, dict) else None
    if kind is None:
        raise ArchMismatch(
            f"{file} does not say whether it is pSp or e4e: opts has no encoder_type",
            hint="Load it where it comes from, set checkpoint['opts'] = {'encoder_type': "
            "'Encoder4Editing'} for e4e, 'GradualStyleEncoder' for pSp, and save it again",
        )
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise ArchMismatch(
            f"{file} has an encoder of type {shown(kind)}, expected one of {', '.join(ENCODERS)}",
            hint="That variant is not served yet",
        )
    if opts.get("start_from_latent_avg") is False:
        raise ArchMismatch(
            f"{file} has an encoder whose codes are whole: opts.start_from_latent_avg is False, "
            "expected codes that start from latent_avg",
            hint="That variant is not served yet",
        )
    return ENCODERS[kind]


def _encoder(state: dict[str, Any], file: str) -> dict[str, TensorView]:
    views = tensor_views(state)
    found = {
        name.removeprefix(PREFIX): view
        for name, view in without_counters(views).items()
        if name.startswith(PREFIX)
    }
    if not found:
        raise ArchMismatch(
            f"{file} has no tensor named {PREFIX}...; it holds {listed(views)}",
            hint="Expected a checkpoint of pSp or e4e",
        )
    return found


def _mean_code(tensors: dict[str, F32], file: str) -> F32:  # [L, w_dim]
    """Files hold the mean of each layer, or one w for all."""
    layers = len({name.split(".")[1] for name in tensors if name.startswith("styles.")})
    average = tensors["latent_avg"]
    if layers % 2 or average.ndim not in (1, 2) or average.shape[0] == 0:
        raise ArchMismatch(
            f"{file} has {layers} heads and a latent_avg of shape {sized(average.shape)}, "
            "expected an even number of heads and a code for each",
            hint="Is it damaged?",
        )
    if average.ndim == 2 and average.shape[0] != 1:
        return average
    return np.ascontiguousarray(np.broadcast_to(average, (layers, average.shape[-1])))
