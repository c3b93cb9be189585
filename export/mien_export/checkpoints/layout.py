"""The tensors that a StyleGAN2 generator has, under NVlabs' names, and what is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed
from mien_export.checkpoints.tensors import F32

Shapes = dict[str, tuple[int, ...]]

MAX_BLOCKS = 9  # 4 to 1024 px
MAPPING_WEIGHT = re.compile(r"mapping\.fc\d+\.weight")
FIR_FILTER = re.compile(r"synthesis\.b\d+\.(conv[01]\.)?resample_filter")


def refuse_relatives(names: Iterable[str], file: str) -> None:
    """Name the networks that come in files of the same kind. Raises ArchMismatch."""
    found = _relative(list(names))
    if found:
        raise ArchMismatch(
            f"{file} is {found}, expected an unconditional StyleGAN2, skip architecture",
            hint="That variant is not served yet",
        )


def _relative(names: list[str]) -> str:
    if any(name.startswith("synthesis.input.") for name in names):
        return "StyleGAN3"
    if any(name.startswith("mapping.embed") for name in names):
        return "a class-conditional StyleGAN2"
    if any(re.fullmatch(r"synthesis\.b\d+\.skip\.weight", name) for name in names):
        return "a StyleGAN2 of the resnet architecture"
    if any(name.startswith(("g_mapping.", "g_synthesis.")) for name in names):
        return "a StyleGAN1"
    return ""


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


def check_shapes(tensors: Mapping[str, F32], file: str) -> None:
    """Compare every tensor with what a generator of these sizes has. Raises ArchMismatch."""
    expected = _expected(tensors, file)
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ArchMismatch(
            f"{file} lacks {len(missing)} of {len(expected)} tensors of a StyleGAN2: "
            f"{listed(missing)}",
            hint="Is it another network, or another size than its neighbours say?",
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ArchMismatch(
                f"{file}: {name} has shape {tensors[name].shape}, expected {shape}",
                hint="Is it another network, or damaged?",
            )
    unknown = [name for name in tensors if name not in expected]
    if unknown:
        raise ArchMismatch(
            f"{file} has tensors that a StyleGAN2 has no place for, {len(unknown)} in all: "
            f"{listed(unknown)}",
            hint="It would not compute the same without them",
        )


def mapping_layers(tensors: Mapping[str, F32]) -> int:
    return sum(MAPPING_WEIGHT.fullmatch(name) is not None for name in tensors)


def _expected(tensors: Mapping[str, F32], file: str) -> Shapes:
    """The shapes of all tensors, from a few of them."""
    first = tensors.get("mapping.fc0.weight")
    if first is None or first.ndim != 2:
        raise ArchMismatch(
            f"{file} has no mapping network; it holds {listed(tensors)}",
            hint="Expected a StyleGAN2",
        )
    w_dim, z_dim = first.shape
    shapes: Shapes = {}
    for i in range(mapping_layers(tensors)):
        shapes[f"mapping.fc{i}.weight"] = (w_dim, z_dim if i == 0 else w_dim)
        shapes[f"mapping.fc{i}.bias"] = (w_dim,)
    c_in = 0
    for i in range(max(1, _blocks(tensors))):
        block = f"synthesis.b{4 << i}"
        bias = tensors.get(f"{block}.conv1.bias")
        c_out = 0 if bias is None else bias.size
        shapes |= _block_shapes(block, 4 << i, c_in, c_out, w_dim)
        c_in = c_out
    optional: Shapes = {name: (4, 4) for name in tensors if FIR_FILTER.fullmatch(name)}
    if "mapping.w_avg" in tensors:
        optional |= {"mapping.w_avg": (w_dim,)}
    return shapes | optional


def _blocks(tensors: Mapping[str, F32]) -> int:
    """Count up to the last block of which the file has anything."""
    names = set(tensors)
    present = {
        i for i in range(MAX_BLOCKS) if any(n.startswith(f"synthesis.b{4 << i}.") for n in names)
    }
    return 1 + max(present, default=-1)


def _block_shapes(block: str, resolution: int, c_in: int, c_out: int, w_dim: int) -> Shapes:
    shapes: Shapes = {
        **_conv_shapes(f"{block}.conv1", c_out, c_out, resolution, w_dim),
        f"{block}.torgb.weight": (3, c_out, 1, 1),
        f"{block}.torgb.bias": (3,),
        **_affine_shapes(f"{block}.torgb", c_out, w_dim),
    }
    if resolution == 4:
        return {f"{block}.const": (c_out, 4, 4), **shapes}
    return _conv_shapes(f"{block}.conv0", c_in, c_out, resolution, w_dim) | shapes


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
