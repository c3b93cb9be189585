"""Networks that find faces and points in them, ONNX already: YuNet, PFLD.

YuNet: Wu et al. 2023, Machine Intelligence Research 20; its outputs stay raw, since the search
among them is no matter of a graph. PFLD: Guo et al. 2019 (arXiv 1902.10859).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper

from mien_engines.errors import ArchMismatch
from mien_engines.spec import TensorSpec
from mien_export.checkpoints.faults import listed, shown, sized
from mien_export.checkpoints.onnx_model import OnnxModel, Port, read_onnx
from mien_export.content import Content, Extras
from mien_export.graph import EXACT, Graph, floats, picture_spec
from mien_export.nets.wrapped import closed, inner, named, same, wrapped

# Of each cell of a stride: probability of a face, of an object; box; five points.
VALUES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
OUTPUT = re.compile(r"(cls|obj|bbox|kps)_(\d{1,3})")
MEANINGS = {
    "cls": "probability of a face in each cell, row by row",
    "obj": "probability that the cell's box is a good one",
    "bbox": "centre against the cell and logarithm of width and height, in strides",
    "kps": "x, y of eyes, nose and mouth corners against the cell, in strides",
}
SAMPLE = 320  # px, where the file leaves the size open
CROP = 1.2  # side of the square that PFLD was trained on, over the longer side of the face's box


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graph `detect` of a YuNet, or `landmarks` of a PFLD. Raises ModelError."""
    extras.only(family="faces")
    read = read_onnx(checkpoint)
    if len(read.inputs) == 1:
        if all(OUTPUT.fullmatch(port.name) for port in read.outputs):
            return _yunet(read)
        if len(read.outputs) == 1:
            return _pfld(read)
    raise ArchMismatch(
        f"{read.name} has inputs {listed(p.name for p in read.inputs)} and outputs "
        f"{listed(p.name for p in read.outputs)}, expected a YuNet or a PFLD",
        hint="Name one of those, or try family generic",
    )


def _yunet(read: OnnxModel) -> Content:
    image = read.inputs[0]
    batch, channels, height, width = _shape(read, image, 4)
    strides = sorted({int(port.name.partition("_")[2]) for port in read.outputs})
    expected = {f"{part}_{stride}" for part in VALUES for stride in strides}
    if channels != 3 or {port.name for port in read.outputs} != expected:
        raise ArchMismatch(
            f"{read.name} has {channels} channels and outputs "
            f"{listed(p.name for p in read.outputs)}, expected a YuNet's, four for each stride"
        )
    sizes = [named(size, name) for size, name in ((batch, "N"), (height, "H"), (width, "W"))]
    source = TensorSpec(
        name=image.name,
        dtype="float32",
        shape=(sizes[0], 3, *sizes[1:]),
        range=(0, 255),
        meaning=f"BGR, not RGB; sides a multiple of {strides[-1]} px",
    )
    outputs = tuple(_cells(read, port, sizes[0]) for port in read.outputs)
    graph = Graph(
        "detect",
        wrapped(
            read,
            (source,),
            outputs,
            [same(image.name, inner(image.name))],
            [same(inner(port.name), port.name) for port in read.outputs],
        ),
        (),
        (source,),
        outputs,
        EXACT,
        frequent=True,
        samples={image.name: _noise(source.shape) * 255},
    )
    return Content(
        graphs=[graph],
        format="onnx-yunet",
        sha256=read.sha256,
        properties={"strides": [*strides], "values": [*VALUES], "colour": "BGR"},
    )


def _cells(read: OnnxModel, port: Port, batch: int | str) -> TensorSpec:
    part, _, stride = port.name.partition("_")
    _, cells, values = _shape(read, port, 3)
    if values != VALUES[part]:
        raise ArchMismatch(
            f"{read.name}: output {port.name} has {values} values a cell, expected {VALUES[part]}"
        )
    return floats(port.name, (batch, named(cells, f"cells_{stride}"), values), MEANINGS[part])


def _pfld(read: OnnxModel) -> Content:
    image, points = read.inputs[0], read.outputs[0]
    batch, channels, height, width = _shape(read, image, 4)
    _, coordinates = _shape(read, points, 2)
    if channels != 3 or not isinstance(height, int) or height != width:
        raise ArchMismatch(
            f"{read.name}: input {shown(image.name)} has shape {sized(image.shape)}, expected "
            "[N, 3, size, size]"
        )
    if not isinstance(coordinates, int) or coordinates % 2:
        raise ArchMismatch(
            f"{read.name}: output {shown(points.name)} has {coordinates} values, expected x and y "
            "of each point"
        )
    n, count = named(batch, "N"), coordinates // 2
    picture = picture_spec("picture", height, width).model_copy(
        update={"shape": (n, height, width, 3), "meaning": f"square of {CROP} times the face's box"}
    )
    landmarks = floats("landmarks", (n, count, 2), "x, y in px of the picture")
    node = helper.make_node
    model = wrapped(
        read,
        (picture,),
        (landmarks,),
        [
            node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
            node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
            node("Mul", ["planes", "level"], [inner(image.name)]),
        ],
        [
            node("Reshape", [inner(points.name), "pairs"], ["parts"]),
            node("Mul", ["parts", "side"], ["landmarks"]),
        ],
        {
            "level": np.array(1 / 255, np.float32),
            "side": np.array(height, np.float32),
            "pairs": np.array([0, count, 2], np.int64),
        },
    )
    sample = (_noise(picture.shape) * 255).to(torch.uint8)
    return Content(
        graphs=[
            Graph("landmarks", model, (), (picture,), (landmarks,), EXACT,
                  frequent=True, samples={"picture": sample})
        ],
        format="onnx-pfld",
        sha256=read.sha256,
        properties={"points": count, "resolution": height, "crop": CROP},
    )  # fmt: skip


def _shape(read: OnnxModel, port: Port, rank: int) -> tuple[int | str, ...]:
    if port.kind != TensorProto.FLOAT or port.shape is None or len(port.shape) != rank:
        raise ArchMismatch(
            f"{read.name}: {shown(port.name)} has kind {port.kind} and shape {sized(port.shape)}, "
            f"expected float32 of {rank} dimensions"
        )
    return port.shape


def _noise(shape: tuple[int | str, ...]) -> torch.Tensor:
    """Seeded uniform noise in [0, 1]."""
    return torch.rand(closed(shape, SAMPLE), generator=torch.Generator().manual_seed(0))
