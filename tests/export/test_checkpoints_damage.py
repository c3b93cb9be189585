"""Cut and flipped files of every kind: whatever the damage, only mien's errors leave."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.golden.foreign import fake_modules, module

from mien_engines.errors import MienError
from mien_export.checkpoints import read_state_dict, read_stylegan2

STATE = collections.OrderedDict(
    {"style.1.weight": torch.ones(2, 2), "input.input": torch.ones(1, 2, 4, 4)}
)


def saved(content: Any, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def nvlabs(protocol: int) -> bytes:
    tensors = {"mapping.fc0.weight": torch.ones(2, 2), "synthesis.b4.const": torch.ones(2, 4, 4)}
    with fake_modules():
        return pickle.dumps({"G_ema": module("Generator", tensors, "x", 256)}, protocol)


SMALL: dict[str, Callable[[], bytes]] = {
    "zip": lambda: saved({"g_ema": STATE, "latent_avg": torch.ones(2)}, True),
    "stream": lambda: saved({"g_ema": STATE, "latent_avg": torch.ones(2)}, False),
    "nvlabs 2": lambda: nvlabs(2),
    "nvlabs 4": lambda: nvlabs(4),
    "safetensors": lambda: safetensors.numpy.save({k: v.numpy() for k, v in STATE.items()}),
}


def read_in_every_way(path: Path) -> None:
    """Let nothing but a MienError end a reading. Some damage leaves a readable file."""
    for read in (read_stylegan2, read_state_dict):
        with contextlib.suppress(MienError):
            read(path)


@pytest.mark.parametrize("kind", SMALL)
def test_flipped_bytes_leave_typed_errors_only(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    whole = SMALL[kind]()
    path = tmp_path / "flipped"
    for _ in range(400):
        flipped = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            flipped[int(rng.integers(len(whole)))] = int(rng.integers(256))
        path.write_bytes(flipped)
        read_in_every_way(path)


@pytest.mark.parametrize("kind", SMALL)
def test_small_files_cut_anywhere_leave_typed_errors_only(tmp_path: Path, kind: str) -> None:
    whole = SMALL[kind]()
    path = tmp_path / "cut"
    for length in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:length])
        read_in_every_way(path)


@pytest.mark.parametrize("kind", ["rosinality_pt", "nvlabs_pkl"])
def test_a_checkpoint_cut_anywhere_is_refused(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    whole: bytes = request.getfixturevalue(kind).read_bytes()
    path = tmp_path / "cut.pt"
    for percent in range(0, 100, 5):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(MienError):
            read_stylegan2(path)


def test_a_flipped_bit_of_a_weight_in_an_archive_is_noticed(
    rosinality_pt: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    whole = bytearray(rosinality_pt.read_bytes())
    path = tmp_path / "rotten.pt"
    middle = len(whole) // 2
    whole[middle + int(rng.integers(1000))] ^= 1
    path.write_bytes(whole)
    with pytest.raises(MienError, match="CRC"):
        read_stylegan2(path)
