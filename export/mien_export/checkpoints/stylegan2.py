"""StyleGAN2 checkpoints of NVlabs and of rosinality, under one set of names.

The names are NVlabs' (`mapping.fc0.weight`, `synthesis.b8.conv0.affine.weight`); values are as the
NVlabs layout stores them, before learning-rate gains.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.identify import identify
from mien_export.checkpoints.nvlabs import Module, read_generator
from mien_export.checkpoints.state_dict import arrays, tensor_views
from mien_export.checkpoints.tensors import F32

Format = Literal["nvlabs-pkl", "rosinality-pt"]
SHOWN = 5  # names that an error lists


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
        UnsafeFile: the file asks for code to be run. CorruptFile: damaged, or of another kind.
        ArchMismatch: another network, or a variant that is not served.
        NonFiniteWeights: NaN or infinity in a tensor.
    """
    kind = identify(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if kind == "nvlabs-pickle":
        return _from_nvlabs(read_generator(path), path, digest)
    if kind == "torch":
        return _from_rosinality(read_torch(path), path, digest)
    raise ArchMismatch(
        f"{path.name} is a safetensors file, expected an NVlabs .pkl or a rosinality .pt",
        hint="Name the checkpoint it was converted from",
    )


def _from_nvlabs(generator: Module, path: Path, digest: str) -> Stylegan2Checkpoint:
    views = dict(generator.tensors())
    _refuse_variants(views, path)
    tensors = {k: v for k, v in arrays(views).items() if _is_known(k)}
    if "mapping.w_avg" not in tensors:
        raise ArchMismatch(f"{path.name} has no mapping.w_avg", hint="Use G_ema of a training run")
    _check(tensors, path)
    return Stylegan2Checkpoint(tensors, _conv_clamp(generator, path), "nvlabs-pkl", digest)


def _conv_clamp(generator: Module, path: Path) -> float | None:
    """The bound of activations, an attribute of the layers. It is one for all, or none."""
    found = {module.state.get("conv_clamp") for module in generator.modules()} - {None}
    clamps = {float(value) for value in found if isinstance(value, int | float)}
    if len(clamps) > 1:
        raise ArchMismatch(f"{path.name} clamps its layers at {sorted(clamps)}, one was expected")
    return clamps.pop() if clamps else None


def _refuse_variants(views: Mapping[str, Any], path: Path) -> None:
    """Name the relatives that carry the same kind of file."""
    found = None
    if any(name.startswith("synthesis.input.") for name in views):
        found = "StyleGAN3"
    elif any(name.startswith("mapping.embed") for name in views):
        found = "a class-conditional StyleGAN2"
    elif any(re.fullmatch(r"synthesis\.b\d+\.skip\.weight", name) for name in views):
        found = "a StyleGAN2 of the resnet architecture"
    elif not any(name.startswith("synthesis.b4.") for name in views):
        found = f"a network with tensors {_some(views)}"
    if found:
        raise ArchMismatch(
            f"{path.name} is {found}, expected an unconditional StyleGAN2, skip architecture",
            hint="That variant is not served yet",
        )


def _is_known(name: str) -> bool:
    return bool(re.fullmatch(r"mapping\.(w_avg|fc\d+\.(weight|bias))|synthesis\.b\d+\..+", name))


def _from_rosinality(content: Any, path: Path, digest: str) -> Stylegan2Checkpoint:
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        names = content if isinstance(content, dict) else {}
        raise ArchMismatch(
            f"{path.name} has no g_ema; it holds {_some(names) or type(content).__name__}",
            hint="Expected rosinality's checkpoint: {'g_ema': ..., 'latent_avg': ...}",
        )
    source = arrays(tensor_views(content["g_ema"]))
    tensors = nvlabs_from_rosinality(source)
    notes = []
    average = tensor_views(content).get("latent_avg")
    if average is None:
        notes.append("no latent_avg in the file: the mean w is estimated from 10,000 samples")
    else:
        tensors["mapping.w_avg"] = arrays({"latent_avg": average})["latent_avg"].reshape(-1)
    _fill_noise(tensors)
    _check(tensors, path)
    return Stylegan2Checkpoint(tensors, None, "rosinality-pt", digest, tuple(notes))


def nvlabs_from_rosinality(source: Mapping[str, F32]) -> dict[str, F32]:
    """Rename tensors, and take off the dimensions that rosinality adds.

    Its demodulated kernels are divided by the root of their fan-in before the 1e-8 is added;
    that factor is put into the kernels, so that the 1e-8 weighs the same here.
    """
    tensors: dict[str, F32] = {}
    for name, value in source.items():
        if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
            tensors[f"mapping.fc{int(match[1]) - 1}.{match[2]}"] = value
        elif name == "input.input":
            tensors["synthesis.b4.const"] = value[0]
        elif match := re.fullmatch(r"noises\.noise_(\d+)", name):
            tensors[f"{_layer(int(match[1]))}.noise_const"] = value[0, 0]
        elif match := re.fullmatch(r"(conv1|convs\.(\d+)|to_rgb1|to_rgbs\.(\d+))\.(.+)", name):
            _add_layer(tensors, match[1], match[4], value)
    return tensors


def _layer(index: int) -> str:
    """Layer `index` of the synthesis network: conv1 at 4 px, conv0 and conv1 at 8 px, ..."""
    block = 2 ** ((index + 1) // 2 + 2)
    return f"synthesis.b{block}.conv{1 if index == 0 else (index + 1) % 2}"


def _add_layer(tensors: dict[str, F32], layer: str, part: str, value: F32) -> None:
    kind, _, number = layer.partition(".")
    if kind.startswith("to_rgb"):
        home = f"synthesis.b{8 * 2 ** int(number) if number else 4}.torgb"
    else:
        home = _layer(int(number) + 1 if number else 0)
    if part == "conv.weight":
        kernel = value[0]
        fan_in = kernel[0].size
        plain = kind.startswith("to_rgb")
        tensors[f"{home}.weight"] = kernel if plain else kernel / np.float32(np.sqrt(fan_in))
    elif part in ("conv.modulation.weight", "conv.modulation.bias"):
        tensors[f"{home}.affine.{part.rpartition('.')[2]}"] = value
    elif part in ("activate.bias", "bias"):
        tensors[f"{home}.bias"] = value.reshape(-1)
    elif part == "noise.weight":
        tensors[f"{home}.noise_strength"] = value.reshape(())


def _fill_noise(tensors: dict[str, F32]) -> None:
    """Give layers whose noise the file leaves out none."""
    layers = [n.removesuffix(".noise_strength") for n in tensors if n.endswith(".noise_strength")]
    for layer in layers:
        side = int(layer.split(".")[1][1:])
        tensors.setdefault(f"{layer}.noise_const", np.zeros((side, side), np.float32))


def _check(tensors: Mapping[str, F32], path: Path) -> None:
    """Compare every tensor with what a generator of these sizes has. Raises ArchMismatch."""
    expected = _expected_shapes(tensors, path)
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ArchMismatch(
            f"{path.name} lacks {len(missing)} of {len(expected)} tensors of a StyleGAN2: "
            f"{_some(missing)}",
            hint="Is it another network, or another size than its neighbours say?",
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ArchMismatch(
                f"{path.name}: {name} has shape {tensors[name].shape}, expected {shape}",
                hint="Is it another network, or damaged?",
            )


def _expected_shapes(tensors: Mapping[str, F32], path: Path) -> dict[str, tuple[int, ...]]:
    first = tensors.get("mapping.fc0.weight")
    if first is None or first.ndim != 2:
        raise ArchMismatch(f"{path.name} has no mapping network", hint="Expected a StyleGAN2")
    w_dim, z_dim = first.shape
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        shapes[f"mapping.fc{i}.weight"] = (w_dim, z_dim if i == 0 else w_dim)
        shapes[f"mapping.fc{i}.bias"] = (w_dim,)
    blocks = {int(m[1]) for name in tensors if (m := re.match(r"synthesis\.b(\d+)\.", name))}
    c_in, resolution = 0, 4
    while resolution <= max(blocks, default=4):
        block = f"synthesis.b{resolution}"
        bias = tensors.get(f"{block}.conv1.bias")
        c_out = 0 if bias is None else bias.size
        if resolution == 4:
            shapes[f"{block}.const"] = (c_out, 4, 4)
        else:
            shapes |= _conv_shapes(f"{block}.conv0", c_in, c_out, resolution, w_dim)
        shapes |= _conv_shapes(f"{block}.conv1", c_out, c_out, resolution, w_dim)
        shapes[f"{block}.torgb.weight"] = (3, c_out, 1, 1)
        shapes[f"{block}.torgb.bias"] = (3,)
        shapes |= _affine_shapes(f"{block}.torgb", c_out, w_dim)
        c_in, resolution = c_out, 2 * resolution
    return shapes


def _conv_shapes(
    layer: str, c_in: int, c_out: int, resolution: int, w_dim: int
) -> dict[str, tuple[int, ...]]:
    return {
        f"{layer}.weight": (c_out, c_in, 3, 3),
        f"{layer}.bias": (c_out,),
        f"{layer}.noise_const": (resolution, resolution),
        f"{layer}.noise_strength": (),
        **_affine_shapes(layer, c_in, w_dim),
    }


def _affine_shapes(layer: str, c_in: int, w_dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{layer}.affine.weight": (c_in, w_dim), f"{layer}.affine.bias": (c_in,)}


def _some(names: Any) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")


def mean_w(tensors: Mapping[str, F32], samples: int, seed: int) -> F32:
    """Return the mean w [w_dim] of `samples` z drawn by numpy's RandomState(seed)."""
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
    z = np.random.RandomState(seed).randn(samples, tensors["mapping.fc0.weight"].shape[1])
    w = z.astype(np.float32)
    w /= np.sqrt(np.square(w).mean(1, keepdims=True) + 1e-8)
    for i in range(layers):
        weight, bias = tensors[f"mapping.fc{i}.weight"], tensors[f"mapping.fc{i}.bias"]
        w = w @ (weight * np.float32(0.01 / np.sqrt(weight.shape[1]))).T + bias * np.float32(0.01)
        w = np.where(w < 0, np.float32(0.2) * w, w) * np.float32(np.sqrt(2))
    mean: F32 = w.mean(0)
    return mean
