"""rosinality's stylegan2-pytorch: its names and values become NVlabs'."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed, shown
from mien_export.checkpoints.tensors import F32

LAYER = re.compile(r"(conv1|convs\.(\d{1,2})|to_rgb1|to_rgbs\.(\d))\.(.+)")
KERNEL = re.compile(r"convs\.\d{1,2}\.conv\.blur\.kernel|to_rgbs\.\d\.upsample\.kernel")
# A layer's tensor -> NVlabs' name of it, and its dimensions there.
PARTS: dict[str, tuple[str, int]] = {
    "conv.weight": ("weight", 4),
    "conv.modulation.weight": ("affine.weight", 2),
    "conv.modulation.bias": ("affine.bias", 1),
    "activate.bias": ("bias", 1),
    "bias": ("bias", 1),
    "noise.weight": ("noise_strength", 0),
}


def nvlabs_from_rosinality(source: Mapping[str, F32], file: str) -> dict[str, F32]:
    """Rename tensors, and take off the dimensions that rosinality adds.

    Its demodulated kernels are divided by the root of their fan-in before the 1e-8 is added;
    that factor is put into the kernels, so that the 1e-8 weighs the same here.
    Raises ArchMismatch where a tensor has no place.
    """
    tensors: dict[str, F32] = {}
    unknown = []
    for name, value in source.items():
        if KERNEL.fullmatch(name):
            _check_kernel(name, value, file)
            continue
        home = _home(name)
        if home is None:
            unknown.append(name)
            continue
        tensors[home[0]] = _without_ones(value, home[1], name, file)
    if unknown:
        raise ArchMismatch(
            f"{file} has tensors that rosinality's generator has no place for, {len(unknown)} in "
            f"all: {listed(unknown)}",
            hint="Expected the state dict of stylegan2-pytorch's Generator as g_ema",
        )
    return {name: _rescaled(name, value) for name, value in tensors.items()}


def _home(name: str) -> tuple[str, int] | None:
    """Return the name that NVlabs gives to a tensor, and its dimensions there."""
    if match := re.fullmatch(r"style\.([1-9]\d?)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}", 2 if match[2] == "weight" else 1
    if name == "input.input":
        return "synthesis.b4.const", 3
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_convolution(int(match[1]))}.noise_const", 2
    match = LAYER.fullmatch(name)
    if match is None or match[4] not in PARTS:
        return None
    part, dimensions = PARTS[match[4]]
    return f"{_layer(match)}.{part}", dimensions


def _layer(match: re.Match[str]) -> str:
    if match[1].startswith("to_rgb"):
        return f"synthesis.b{8 << int(match[3]) if match[3] else 4}.torgb"
    return _convolution(int(match[2]) + 1 if match[2] else 0)


def _convolution(index: int) -> str:
    """Convolution `index` of the network: conv1 at 4 px, conv0 and conv1 at 8 px, ..."""
    return f"synthesis.b{4 << (index + 1) // 2}.conv{1 if index == 0 else (index + 1) % 2}"


def _without_ones(value: F32, dimensions: int, name: str, file: str) -> F32:
    """Take off dimensions of length 1: in front, and behind the three of toRGB's bias."""
    shape = value.shape
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    while len(shape) > dimensions and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != dimensions:
        raise ArchMismatch(
            f"{file}: {shown(name)} has shape {value.shape}, expected {dimensions} dimensions",
            hint="Is it another network, or damaged?",
        )
    return value.reshape(shape)


def _rescaled(name: str, value: F32) -> F32:
    if re.fullmatch(r"synthesis\.b\d+\.conv[01]\.weight", name):
        return value / np.float32(np.sqrt(value[0].size))
    return value


def _check_kernel(name: str, value: F32, file: str) -> None:
    """The filter of an up-sampling layer is built in here; a file may leave it out."""
    taps = np.array([1, 3, 3, 1], np.float32)
    expected = np.outer(taps, taps) / 16
    if value.shape != expected.shape or not np.allclose(value, expected, atol=1e-3):
        raise ArchMismatch(
            f"{file}: {name} is not the filter [1, 3, 3, 1]", hint="That variant is not served yet"
        )
