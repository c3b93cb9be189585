"""Networks that find faces and points in them: YuNet and PFLD, ONNX already, and mien's own.

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
from mien_export.checkpoints import read_weights
from mien_export.checkpoints.faults import listed, naming, shown, sized
from mien_export.checkpoints.identify import is_safetensors
from mien_export.checkpoints.onnx_model import OnnxModel, Port, read_onnx
from mien_export.checkpoints.tensors import without_counters
from mien_export.content import Content, Extras
from mien_export.families.faces_graphs import (
    VALUES,
    detect_input,
    detect_output,
    detect_properties,
    landmarks_input,
    landmarks_output,
    landmarks_properties,
    noise,
    own_detect,
    own_detect_properties,
    own_landmarks,
)
from mien_export.graph import EXACT, Graph
from mien_export.nets.face_detector import face_detector_from_tensors
from mien_export.nets.landmarks68 import POINTS, landmarks68_from_tensors
from mien_export.nets.wrapped import inner, named, same, wrapped

OUTPUT = re.compile(r"(cls|obj|bbox|kps)_(\d{1,3})")


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graph `detect` or `landmarks`; both, of two files, where extras name the second.

    Their properties lie side by side; format and hash are the checkpoint's. Raises ModelError,
    InputError.
    """
    extras.only("landmarks", family="faces")
    first = _part(checkpoint)
    if extras.landmarks is None:
        return first
    second = _part(extras.landmarks)
    for part, file, expected in (
        (first, checkpoint, "detect"),
        (second, extras.landmarks, "landmarks"),
    ):
        if part.graphs[0].name != expected:
            raise ArchMismatch(
                f"{file.name} gives the graph {part.graphs[0].name}, expected {expected}",
                hint="Name the detector first, and the landmark network with --landmarks",
            )
    return Content(
        graphs=[*first.graphs, *second.graphs],
        format=first.format,
        sha256=first.sha256,
        properties={**first.properties, **second.properties},
    )


def _part(file: Path) -> Content:
    if is_safetensors(file):
        return _own(file)
    read = read_onnx(file)
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


def _own(file: Path) -> Content:
    read = read_weights(file)
    tensors = without_counters(read.tensors)
    with naming(file):
        if any(name.startswith("pyramid.") for name in tensors):
            graph = own_detect(face_detector_from_tensors(tensors))
            properties = own_detect_properties()
        elif "points.weight" in tensors:
            net = landmarks68_from_tensors(tensors)
            graph, properties = own_landmarks(net), landmarks_properties(POINTS, net.size)
        else:
            raise ArchMismatch(
                f"{file.name} holds {listed(tensors)}, expected a detector or a landmark network "
                "of mien's",
                hint="Name a file that zoo.detector or zoo.landmarks wrote",
            )
    return Content([graph], read.format, read.sha256, properties)


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
    sizes = named(batch, "N"), named(height, "H"), named(width, "W")
    source = detect_input(image.name, sizes, strides[-1])
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
        samples={image.name: noise(source.shape) * 255},
    )
    return Content(
        graphs=[graph],
        format="onnx-yunet",
        sha256=read.sha256,
        properties=detect_properties(strides),
    )


def _cells(read: OnnxModel, port: Port, batch: int | str) -> TensorSpec:
    part, _, stride = port.name.partition("_")
    _, cells, values = _shape(read, port, 3)
    if values != VALUES[part]:
        raise ArchMismatch(
            f"{read.name}: output {port.name} has {values} values a cell, expected {VALUES[part]}"
        )
    return detect_output(part, int(stride), batch, named(cells, f"cells_{stride}"))


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
    picture, landmarks = landmarks_input(n, height), landmarks_output(n, count)
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
    sample = (noise(picture.shape) * 255).to(torch.uint8)
    return Content(
        graphs=[
            Graph("landmarks", model, (), (picture,), (landmarks,), EXACT,
                  frequent=True, samples={"picture": sample})
        ],
        format="onnx-pfld",
        sha256=read.sha256,
        properties=landmarks_properties(count, height),
    )  # fmt: skip


def _shape(read: OnnxModel, port: Port, rank: int) -> tuple[int | str, ...]:
    if port.kind != TensorProto.FLOAT or port.shape is None or len(port.shape) != rank:
        raise ArchMismatch(
            f"{read.name}: {shown(port.name)} has kind {port.kind} and shape {sized(port.shape)}, "
            f"expected float32 of {rank} dimensions"
        )
    return port.shape
