"""StyleGAN1 in PyTorch: IVRL's flat state dict, and lernapparat's, which it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed, shown, typed_errors
from mien_export.checkpoints.state_dict import read_weights
from mien_export.checkpoints.tensors import F32

Format = Literal["ivrl-pth", "lernapparat-pt"]

# lernapparat keeps the linear layers of the styles where they are applied, IVRL in a network.
STYLE_INSIDE = re.compile(r"g_synthesis\.blocks\.(\d+x\d+)\.epi([12])\.style_mod\.lin\.(\w+)")
BLUR = re.compile(r"g_synthesis\.blocks\.\d+x\d+\.conv0_up\.intermediate\.kernel")


@dataclass(frozen=True, eq=False)
class Stylegan1Checkpoint:
    """A generator's tensors, float32, under IVRL's names, and where they came from."""

    tensors: dict[str, F32]
    format: Format
    sha256: str


def read_stylegan1(path: Path) -> Stylegan1Checkpoint:
    """Read a StyleGAN1 generator without running any of the file's code.

    Raises InputError, and ModelError: ArchMismatch for another network or another filter.
    """
    with typed_errors(path):
        read = read_weights(path)
        if not any(name.startswith("g_synthesis.") for name in read.tensors):
            raise ArchMismatch(
                f"{path.name} is no StyleGAN1; it holds {listed(read.tensors)}",
                hint="Expected the state dict of IVRL's or lernapparat's generator; a StyleGAN2 "
                "is exported with the family stylegan2",
            )
        tensors: dict[str, F32] = {}
        for name, value in read.tensors.items():
            if BLUR.fullmatch(name):
                _check_blur(name, value, path.name)
                continue
            tensors[_home(name)] = value
        inside = any(STYLE_INSIDE.fullmatch(name) for name in read.tensors)
        kind: Format = "lernapparat-pt" if inside else "ivrl-pth"
        return Stylegan1Checkpoint(tensors, kind, read.sha256)


def _home(name: str) -> str:
    """Return IVRL's name of a tensor."""
    match = STYLE_INSIDE.fullmatch(name)
    if match is None:
        return name
    return f"g_style.style_layers.{match[1]}_{int(match[2]) - 1}.lin.{match[3]}"


def _check_blur(name: str, value: F32, file: str) -> None:
    """The filter behind an up-convolution is built in here; a file may leave it out."""
    taps = np.array([1, 2, 1], np.float32)
    expected = np.outer(taps, taps)[None, None] / 16
    if value.shape != expected.shape or not np.allclose(value, expected, atol=1e-3):
        raise ArchMismatch(
            f"{file}: {shown(name)} is not the filter [1, 2, 1]",
            hint="That variant is not served yet",
        )
