"""The tensors that a StyleGAN2 generator has, under NVlabs' names, and what is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints import shapes
from mien_export.checkpoints.faults import listed
from mien_export.checkpoints.shapes import Shapes
from mien_export.checkpoints.tensors import F32

# How blocks are joined (Karras et al. 2020, section 4.1): each adds to the picture, or to what
# enters it and the last paints, or just follows the one before it.
Architecture = Literal["skip", "resnet", "orig"]

MAX_BLOCKS = 9  # 4 to 1024 px
MAPPING_WEIGHT = re.compile(r"mapping\.fc\d+\.weight")
FIR_FILTER = re.compile(r"synthesis\.b\d+\.((conv[01]|skip)\.)?resample_filter")
SHORTCUT = re.compile(r"synthesis\.b\d+\.skip\.weight")
TO_RGB = re.compile(r"synthesis\.b\d+\.torgb\.weight")


def refuse_relatives(names: Iterable[str], file: str) -> None:
    """Name the networks that come in files of the same kind. Raises ArchMismatch."""
    known = list(names)
    if any(name.startswith("synthesis.input.") for name in known):
        raise ArchMismatch(
            f"{file} is StyleGAN3, expected StyleGAN2", hint="That network is not served"
        )
    if any(name.startswith(("g_mapping.", "g_synthesis.")) for name in known):
        raise ArchMismatch(
            f"{file} is StyleGAN1, expected StyleGAN2",
            hint="Name its family: mien export stylegan1",
        )


def architecture_of(names: Iterable[str]) -> Architecture:
    """Tell an NVlabs generator's architecture by the tensors that only it has."""
    known = list(names)
    if any(SHORTCUT.fullmatch(name) for name in known):
        return "resnet"
    blocks = {name.split(".")[1] for name in known if name.startswith("synthesis.b")}
    painting = [name for name in known if TO_RGB.fullmatch(name)]
    return "orig" if len(painting) < 2 <= len(blocks) else "skip"


def silence_missing_noise(tensors: dict[str, F32]) -> int:
    """Give layers without a noise picture one of zeros. Returns how many those are.

    Networks made with use_noise=False have neither picture nor strength; where just the strength
    is missing, the file is damaged, and `check_shapes` says so.
    """
    silent = 0
    for name in list(tensors):
        match = re.fullmatch(r"(synthesis\.b(\d{1,4})\.conv[01])\.weight", name)
        if match is None or f"{match[1]}.noise_const" in tensors:
            continue
        tensors[f"{match[1]}.noise_const"] = np.zeros((int(match[2]), int(match[2])), np.float32)
        tensors.setdefault(f"{match[1]}.noise_strength", np.zeros((), np.float32))
        silent += 1
    return silent


def check_shapes(tensors: Mapping[str, F32], architecture: Architecture, file: str) -> None:
    """Compare every tensor with what a generator of these sizes has. Raises ArchMismatch."""
    kind = "a class-conditional StyleGAN2" if _embeds(tensors) else "a StyleGAN2"
    network = kind if architecture == "skip" else f"{kind} of the {architecture} architecture"
    shapes.check_shapes(tensors, _expected(tensors, architecture, file), file, network)


def mapping_layers(tensors: Mapping[str, F32]) -> int:
    return sum(MAPPING_WEIGHT.fullmatch(name) is not None for name in tensors)


def _embeds(tensors: Mapping[str, F32]) -> bool:
    return any(name.startswith("mapping.embed.") for name in tensors)


def _expected(tensors: Mapping[str, F32], architecture: Architecture, file: str) -> Shapes:
    """The shapes of all tensors, from a few of them."""
    first = tensors.get("mapping.fc0.weight")
    if first is None or first.ndim != 2:
        raise ArchMismatch(
            f"{file} has no mapping network; it holds {listed(tensors)}",
            hint="Expected a StyleGAN2",
        )
    w_dim = first.shape[0]
    expected = _mapping_shapes(tensors, first.shape[1], w_dim, file)
    c_in = 0
    blocks = max(1, _blocks(tensors))
    for i in range(blocks):
        block = f"synthesis.b{4 << i}"
        bias = tensors.get(f"{block}.conv1.bias")
        c_out = 0 if bias is None else bias.size
        expected |= _block_shapes(block, 4 << i, c_in, c_out, w_dim)
        if architecture == "skip" or i == blocks - 1:
            expected |= _torgb_shapes(f"{block}.torgb", c_out, w_dim)
        if architecture == "resnet" and i > 0:
            expected |= {f"{block}.skip.weight": (c_out, c_in, 1, 1)}
        c_in = c_out
    optional: Shapes = {name: (4, 4) for name in tensors if FIR_FILTER.fullmatch(name)}
    if "mapping.w_avg" in tensors:
        optional |= {"mapping.w_avg": (w_dim,)}
    return expected | optional


def _mapping_shapes(tensors: Mapping[str, F32], fan_in: int, w_dim: int, file: str) -> Shapes:
    expected: Shapes = {}
    for i in range(mapping_layers(tensors)):
        expected[f"mapping.fc{i}.weight"] = (w_dim, fan_in if i == 0 else w_dim)
        expected[f"mapping.fc{i}.bias"] = (w_dim,)
    if not _embeds(tensors):
        return expected
    if fan_in <= w_dim:
        raise ArchMismatch(
            f"{file}: mapping.fc0.weight has {fan_in} columns, expected more than {w_dim} of a "
            "class-conditional StyleGAN2",
            hint="Its label is embedded beside z; is it another network, or damaged?",
        )
    embed = tensors.get("mapping.embed.weight")
    labels = embed.shape[-1] if embed is not None and embed.ndim else 0
    return expected | {"mapping.embed.weight": (w_dim, labels), "mapping.embed.bias": (w_dim,)}


def _blocks(tensors: Mapping[str, F32]) -> int:
    """Count up to the last block of which the file has anything."""
    names = set(tensors)
    present = {
        i for i in range(MAX_BLOCKS) if any(n.startswith(f"synthesis.b{4 << i}.") for n in names)
    }
    return 1 + max(present, default=-1)


def _block_shapes(block: str, resolution: int, c_in: int, c_out: int, w_dim: int) -> Shapes:
    last = _conv_shapes(f"{block}.conv1", c_out, c_out, resolution, w_dim)
    if resolution == 4:
        return {f"{block}.const": (c_out, 4, 4), **last}
    return _conv_shapes(f"{block}.conv0", c_in, c_out, resolution, w_dim) | last


def _torgb_shapes(layer: str, c_in: int, w_dim: int) -> Shapes:
    return {
        f"{layer}.weight": (3, c_in, 1, 1),
        f"{layer}.bias": (3,),
        **_affine_shapes(layer, c_in, w_dim),
    }


def _conv_shapes(layer: str, c_in: int, c_out: int, resolution: int, w_dim: int) -> Shapes:
    return {
        f"{layer}.weight": (c_out, c_in, 3, 3),
        f"{layer}.bias": (c_out,),
        f"{layer}.noise_const": (resolution, resolution),
        f"{layer}.noise_strength": (),
        **_affine_shapes(layer, c_in, w_dim),
    }


def _affine_shapes(layer: str, c_in: int, w_dim: int) -> Shapes:
    return {f"{layer}.affine.weight": (c_in, w_dim), f"{layer}.affine.bias": (c_in,)}
