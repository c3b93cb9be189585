"""Any image-to-image network that is ONNX already: `stylize`, from pictures to pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper

from mien_engines.errors import ArchMismatch, InputError
from mien_engines.spec import TensorSpec
from mien_export.checkpoints.faults import listed, shown, sized
from mien_export.checkpoints.onnx_model import OnnxModel, Port, read_onnx
from mien_export.content import Content, Extras
from mien_export.graph import ENERGY, PICTURE, Graph, picture_spec
from mien_export.nets.wrapped import closed, inner, named, wrapped

OLDEST = 11  # the opset since which Clip takes its bounds as inputs, and Round exists
AXES_ARE_INPUTS = 18  # of ReduceMean, since this opset
SAMPLE = 256  # px, where the file leaves the size open


@dataclass(frozen=True)
class Range:
    """From 0 to 255 to what the network takes: level * factor + offset.

    And from what it gives to an image in [-1, 1]: value * back + shift.
    """

    factor: float
    offset: float
    back: float
    shift: float


RANGES = {
    "255": Range(1, 0, 1 / 127.5, -1),
    "1": Range(1 / 255, 0, 2, -1),
    "sym": Range(1 / 127.5, -1, 1, 0),
}


def content(checkpoint: Path, extras: Extras) -> Content:
    """Wrap an ONNX file of one image in, one image out, both float32 RGB NCHW.

    Raises ModelError; InputError where --range is missing, since no file tells it.
    """
    extras.only("value_range", family="generic")
    values = _range(extras.value_range)
    read = read_onnx(checkpoint)
    if read.opset < OLDEST:
        raise ArchMismatch(
            f"{read.name} has opset {read.opset}, expected {OLDEST} or newer",
            hint="Export it with opset_version=18",
        )
    source = _only_image(read, read.inputs, "input")
    target = _only_image(read, read.outputs, "output")
    batch, height, width = _sizes(source, "")
    _, height_next, width_next = _sizes(target, "_next")
    picture = _pictures("picture", batch, height, width)
    result = _pictures("picture_next", batch, height_next, width_next)
    energy = ENERGY.model_copy(update={"shape": (batch,)})
    model = _model(read, source.name, target.name, values, (picture,), (result, energy))
    return Content(
        graphs=[
            Graph(
                "stylize", model, (), (picture,), (result, energy), PICTURE,
                frequent=True, samples={"picture": _sample(picture.shape)},
            )
        ],
        format=f"onnx-opset-{read.opset}",
        sha256=read.sha256,
        properties={"range": str(extras.value_range), "opset": read.opset},
    )  # fmt: skip


def _range(name: str | None) -> Range:
    if name in RANGES:
        return RANGES[name]
    choices = "255 (0 to 255), 1 (0 to 1) or sym (-1 to 1)"
    if name is None:
        raise InputError(
            "the file does not tell which values its images have", hint=f"Add --range: {choices}"
        )
    raise InputError(f"--range {shown(name)} is not known", hint=f"Type one of {choices}")


def _only_image(read: OnnxModel, ports: tuple[Port, ...], what: str) -> Port:
    """The one input or output, float32 NCHW with 3 channels. Raises ArchMismatch."""
    if len(ports) != 1:
        raise ArchMismatch(
            f"{read.name} has {len(ports)} {what}s, {listed(p.name for p in ports)}; expected one",
            hint="Export the network from an image to an image alone",
        )
    port = ports[0]
    shape = port.shape if port.shape is not None else ("",) * 4
    fits = len(shape) == 4 and all(isinstance(n, str) or n > 0 for n in shape)
    if (
        port.kind != TensorProto.FLOAT
        or not fits
        or not (isinstance(shape[1], str) or shape[1] == 3)
    ):
        raise ArchMismatch(
            f"{read.name}: {what} {shown(port.name)} has kind {port.kind} and shape "
            f"{sized(shape)}, expected float32 [N, 3, H, W]",
            hint="Export the network for float32 images, channels first",
        )
    return Port(port.name, port.kind, shape)


def _sizes(port: Port, suffix: str) -> tuple[int | str, int | str, int | str]:
    """Batch, height and width: fixed where the file fixes them."""
    assert port.shape is not None
    n, _, h, w = port.shape
    return named(n, "N"), named(h, f"H{suffix}"), named(w, f"W{suffix}")


def _pictures(name: str, batch: int | str, height: int | str, width: int | str) -> TensorSpec:
    spec = picture_spec(name, height, width)
    return spec.model_copy(update={"shape": (batch, *spec.shape[1:])})


def _model(
    read: OnnxModel,
    source: str,
    target: str,
    values: Range,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> ModelProto:
    node = helper.make_node
    before = [
        node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
        node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "factor"], ["scaled"]),
        node("Add", ["scaled", "offset"], [inner(source)]),
    ]
    after = [
        node("Mul", [inner(target), "back"], ["unshifted"]),
        node("Add", ["unshifted", "shift"], ["image"]),
        *_to_uint8(read.opset),
    ]
    constants = {
        name: np.array(value, np.float32)
        for name, value in {**vars(values), "low": -1, "high": 1, "half": 127.5}.items()
    }
    return wrapped(read, inputs, outputs, before, after, constants)


def _to_uint8(opset: int) -> list[NodeProto]:
    """What nets.pictures.to_uint8 does, as nodes of the file's opset: image -> picture, energy."""
    node = helper.make_node
    axes = [1, 2, 3]
    mean = (
        [
            node("Constant", [], ["axes"], value_ints=axes),
            node("ReduceMean", ["squares", "axes"], ["energy"], keepdims=0),
        ]
        if opset >= AXES_ARE_INPUTS
        else [node("ReduceMean", ["squares"], ["energy"], axes=axes, keepdims=0)]
    )
    return [
        node("Mul", ["image", "image"], ["squares"]),
        *mean,
        node("Clip", ["image", "low", "high"], ["bounded"]),
        node("Mul", ["bounded", "half"], ["spread"]),
        node("Add", ["spread", "half"], ["shifted"]),
        node("Round", ["shifted"], ["rounded"]),
        node("Transpose", ["rounded"], ["rows"], perm=[0, 2, 3, 1]),
        node("Cast", ["rows"], ["picture_next"], to=TensorProto.UINT8),
    ]


def _sample(shape: tuple[int | str, ...]) -> torch.Tensor:
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, closed(shape, SAMPLE), dtype=torch.uint8, generator=noise)
