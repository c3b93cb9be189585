"""VGG encoders in the three layouts they are published in, under one set of names.

`convS_I` is the I-th 3x3 convolution of stage S (Simonyan and Zisserman 2015, arXiv 1409.1556,
table 1), `input` a 1x1 convolution before the first, and `liftS` a 1x1 convolution behind the ReLU
of convS_1, which brings a distilled stage to VGG-19's width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed, shown
from mien_export.checkpoints.state_dict import read_weights
from mien_export.checkpoints.tensors import F32

Kind = Literal["torchvision", "normalised", "distilled"]

VGG16, VGG19 = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
MAX_STAGES = 5
SEQUENTIAL = re.compile(r"(features\.)?(\d{1,3})\.(weight|bias)")
DISTILLED = re.compile(r"conv(\d)(\d)\.weight")
# Places from one convolution to the next in nn.Sequential: within a stage, and over a pooling.
# The normalised network has a module that pads before each convolution.
GAPS = {"torchvision": (2, 3), "normalised": (3, 4)}
EXPECTED = "a VGG of torchvision, a normalised VGG-19, or one distilled to 16x"


@dataclass(frozen=True, eq=False)
class VggCheckpoint:
    """tensors: float32, under the names above. stages: how many convolutions each has.

    kind: torchvision pads with zeros and wants ImageNet's statistics; the other two mirror the
    edge, and their `input` maps RGB in [0, 1] to what the first convolution wants.
    """

    tensors: dict[str, F32]
    stages: tuple[int, ...]
    kind: Kind
    lifted: bool


def read_vgg(path: Path) -> tuple[VggCheckpoint, str]:
    """Read an encoder, and return the file's SHA-256 with it.

    Raises InputError, and ModelError: ArchMismatch for batch normalisation, for a decoder, and
    for whatever else is no VGG.
    """
    read = read_weights(path)
    return vgg_from_tensors(read.tensors, path.name), read.sha256


def vgg_from_tensors(tensors: Mapping[str, F32], file: str) -> VggCheckpoint:
    """Name the tensors of a state dict and check their shapes. Raises ArchMismatch."""
    if any(DISTILLED.fullmatch(name) for name in tensors):
        kind: Kind = "distilled"
        names = _distilled(tensors, file)
    else:
        kind, names = _sequential(tensors, file)
    found = {
        f"{name}.{part}": tensors[f"{source}.{part}"]
        for source, name in names.items()
        for part in ("weight", "bias")
        if f"{source}.{part}" in tensors
    }
    stages = _stages(list(names.values()), file)
    lifted = "lift1" in names.values()
    _check_shapes(found, stages, kind, lifted, {new: old for old, new in names.items()}, file)
    return VggCheckpoint(found, stages, kind, lifted)


def _distilled(tensors: Mapping[str, F32], file: str) -> dict[str, str]:
    if "conv0.weight" not in tensors:
        raise ArchMismatch(
            f"{file} has no conv0.weight: it is a decoder, expected {EXPECTED}",
            hint="Name the encoder, such as 5SE.pth",
        )
    names = {"conv0": "input"}
    for stage, index in sorted(
        (m[1], m[2]) for m in map(DISTILLED.fullmatch, tensors) if m is not None
    ):
        names[f"conv{stage}{index}"] = f"conv{stage}_{index}"
        if "conv11_aux.weight" in tensors and index == "1":
            names[f"conv{stage}1_aux"] = f"lift{stage}"
    _refuse_others(tensors, names, file)
    return names


def _sequential(tensors: Mapping[str, F32], file: str) -> tuple[Kind, dict[str, str]]:
    """Name the convolutions of an nn.Sequential by how far they are apart."""
    prefix = "features." if any(name.startswith("features.") for name in tensors) else ""
    own = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    if any(name.endswith(".running_mean") for name in own):
        raise ArchMismatch(
            f"{file} is a VGG with batch normalisation, expected {EXPECTED}",
            hint="That variant is not served",
        )
    places = sorted({int(m[2]) for m in map(SEQUENTIAL.fullmatch, own) if m is not None})
    first = own.get(f"{prefix}0.weight")
    if first is None or first.ndim != 4:
        raise ArchMismatch(
            f"{file} has no {prefix}0.weight of four dimensions but {listed(tensors)}",
            hint=f"Expected {EXPECTED}",
        )
    kind: Kind = "normalised" if first.shape[2:] == (1, 1) else "torchvision"
    names = {}
    if kind == "normalised":
        names[f"{prefix}0"] = "input"
        places = places[1:]
    within, over = GAPS[kind]
    stage, index, previous = 1, 0, None
    for place in places:
        gap = within if previous is None else place - previous
        if gap not in (within, over) or (previous is None and place != len(names) * 2):
            raise ArchMismatch(
                f"{file}: a convolution at {prefix}{place} after {previous}, expected it "
                f"{within} or, over a pooling, {over} further",
                hint=f"Expected {EXPECTED}",
            )
        stage, index = (stage + 1, 1) if gap == over else (stage, index + 1)
        names[f"{prefix}{place}"] = f"conv{stage}_{index}"
        previous = place
    _refuse_others(own, names, file)
    return kind, names


def _refuse_others(tensors: Mapping[str, F32], names: Mapping[str, str], file: str) -> None:
    known = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    if others := [name for name in tensors if name not in known]:
        raise ArchMismatch(
            f"{file} has tensors that a VGG has no place for: {listed(others)}",
            hint=f"Expected {EXPECTED}",
        )


def _stages(names: Sequence[str], file: str) -> tuple[int, ...]:
    """Count the convolutions of each stage, which must follow one another."""
    convolutions = [name for name in names if name.startswith("conv")]
    counts = [0] * MAX_STAGES
    for name in convolutions:
        stage, index = (int(part) for part in name[4:].split("_"))
        if not 1 <= stage <= MAX_STAGES or index != counts[stage - 1] + 1:
            raise ArchMismatch(
                f"{file} has {name} where {MAX_STAGES} stages without a gap are expected",
                hint=f"Expected {EXPECTED}",
            )
        counts[stage - 1] = index
    stages = tuple(count for count in counts if count)
    if not stages or any(counts[len(stages) :]):
        raise ArchMismatch(f"{file} lacks a stage: it holds {listed(convolutions)}")
    return stages


def _check_shapes(
    tensors: Mapping[str, F32],
    stages: Sequence[int],
    kind: Kind,
    lifted: bool,
    sources: Mapping[str, str],
    file: str,
) -> None:
    """Hold every tensor against its neighbours: kernels of 3, widths that follow one another."""
    if kind != "torchvision":
        _check_layer(tensors, "input", (3, 3, 1, 1), sources, file)
    c_in = 3
    for stage, count in enumerate(stages, 1):
        for index in range(1, count + 1):
            name = f"conv{stage}_{index}"
            c_out = tensors[f"{name}.bias"].size if f"{name}.bias" in tensors else 0
            _check_layer(tensors, name, (c_out, c_in, 3, 3), sources, file)
            c_in = c_out
            if lifted and index == 1:
                lift = tensors.get(f"lift{stage}.bias")
                width = 0 if lift is None else lift.size
                _check_layer(tensors, f"lift{stage}", (width, c_in, 1, 1), sources, file)


def _check_layer(
    tensors: Mapping[str, F32],
    name: str,
    shape: tuple[int, ...],
    sources: Mapping[str, str],
    file: str,
) -> None:
    for part, expected in (("bias", shape[:1]), ("weight", shape)):
        found = tensors.get(f"{name}.{part}")
        if found is None or found.shape != expected or 0 in found.shape:
            source = shown(f"{sources[name]}.{part}")
            raise ArchMismatch(
                f"{file}: {source} ({name}) "
                + ("is missing" if found is None else f"has shape {found.shape}")
                + (f", expected {expected}" if 0 not in expected else ""),
                hint=f"Expected {EXPECTED}",
            )
