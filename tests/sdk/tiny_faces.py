"""A tiny bundle of family `faces`: what is red is a face. And pictures with red in them.

A cell of 8 px that is red all over is a face of 32 px around it, as sure as it is red. Its closer
look puts 68 points around the middle of what is red.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper  # noqa: TID251

from mien_engines.bundle import file_entry, save_spec
from mien_engines.spec import BundleSpec, Gate, GraphSpec, Source, TensorSpec

CELL, BOX = 8, 32  # px
SIDE = 16  # px, of the picture for the closer look
# Eyes, nose and mouth corners from the cell's corner, in cells.
FIVE = np.array([[-0.5, -0.5], [1.5, -0.5], [0.5, 0.5], [-0.25, 1.5], [1.25, 1.5]])
GATE = Gate(kind="outputs", tolerance=1e-4)


def _template() -> NDArray[np.float32]:
    """68 points around the middle of a face, in px of the picture for the closer look."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = [-2, -1.5], [2, -1.5]
    points[48:60], points[48], points[54] = [0, 3], [-1.5, 3], [1.5, 3]
    return points.astype(np.float32)


TEMPLATE = _template()


def red_on_grey(
    cells: Sequence[tuple[int, int]], *, width: int = 320, height: int = 240, red: int = 255
) -> NDArray[np.uint8]:
    """A grey photograph [height, width, 3] with red cells at (column, row)."""
    photo = np.full((height, width, 3), 60, np.uint8)
    for column, row in cells:
        place = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        photo[place] = (red, 0, 0)
    return photo


def five_points(column: int, row: int) -> NDArray[np.float64]:
    """Where the bundle puts the points of a face in this cell, [5, 2] px."""
    return (FIVE + np.array([column, row])) * CELL


def faces_bundle(
    folder: Path,
    *,
    landmarks: bool = False,
    fixed: tuple[int, int] | None = None,
    colour: str = "BGR",
    family: str = "faces",
    strides: Sequence[int] = (CELL,),
    **properties: int | float | str,
) -> Path:
    """Write the bundle. fixed: height and width where the graph takes no other."""
    folder.mkdir(parents=True)
    graphs = {"detect": _detect(folder, fixed, colour)}
    if landmarks:
        graphs["landmarks"] = _landmarks(folder)
    spec = BundleSpec(
        name="tiny-faces",
        family=family,
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={"strides": list(strides), "colour": colour, "crop": 1.2, **properties},
        files={path.name: file_entry(path) for path in sorted(folder.glob("*.onnx"))},
        graphs=graphs,
    )
    save_spec(folder, spec)
    return folder


def _detect(folder: Path, fixed: tuple[int, int] | None, colour: str) -> GraphSpec:
    cells = fixed[0] * fixed[1] // CELL**2 if fixed else "cells_8"
    source = TensorSpec(name="input", dtype="float32", shape=("N", 3, *(fixed or ("H", "W"))))
    values = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = tuple(
        TensorSpec(name=f"{part}_8", dtype="float32", shape=("N", cells, n))
        for part, n in values.items()
    )
    red = 2 if colour == "BGR" else 0
    constants = {
        "red": np.array([red]), "green": np.array([1]), "scale": np.array(1 / 255, np.float32),
        "none": np.array(0, np.float32), "list": np.array([0, -1, 1]),
        "one": np.array(1, np.float32),
        "box": np.array([0.5, 0.5, np.log(BOX / CELL), np.log(BOX / CELL)], np.float32),
        "points": FIVE.astype(np.float32).ravel(),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["input", "red"], ["reds"], axis=1),
        helper.make_node("Gather", ["input", "green"], ["greens"], axis=1),
        helper.make_node("Sub", ["reds", "greens"], ["excess"]),
        helper.make_node("Relu", ["excess"], ["redness"]),
        helper.make_node("Mul", ["redness", "scale"], ["unit"]),
        helper.make_node(
            "AveragePool", ["unit"], ["grid"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]
        ),
        helper.make_node("Transpose", ["grid"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "list"], ["cls_8"]),
        helper.make_node("Mul", ["cls_8", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "one"], ["obj_8"]),
        helper.make_node("Add", ["zero", "box"], ["bbox_8"]),
        helper.make_node("Add", ["zero", "points"], ["kps_8"]),
    ]
    return _saved(folder, "detect", nodes, source, outputs, constants)


def _landmarks(folder: Path) -> GraphSpec:
    source = TensorSpec(name="picture", dtype="uint8", shape=("N", SIDE, SIDE, 3))
    output = TensorSpec(name="landmarks", dtype="float32", shape=("N", 68, 2))
    middle = np.arange(SIDE) + 0.5
    places = np.stack([np.tile(middle, (SIDE, 1)), np.tile(middle[:, None], (1, SIDE))], 2)
    constants = {
        "red": np.array([0]), "green": np.array([1]), "places": places[None].astype(np.float32),
        "axes": np.array([1, 2]), "template": TEMPLATE, "few": np.array(1e-6, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["levels", "red"], ["reds"], axis=3),
        helper.make_node("Gather", ["levels", "green"], ["greens"], axis=3),
        helper.make_node("Sub", ["reds", "greens"], ["excess"]),
        helper.make_node("Relu", ["excess"], ["redness"]),
        helper.make_node("Mul", ["redness", "places"], ["moments"]),
        helper.make_node("ReduceSum", ["moments", "axes"], ["moment"], keepdims=0),
        helper.make_node("ReduceSum", ["redness", "axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "few"], ["mass"]),
        helper.make_node("Div", ["moment", "mass"], ["centre"]),
        helper.make_node("Unsqueeze", ["centre", "second"], ["centres"]),
        helper.make_node("Add", ["centres", "template"], ["landmarks"]),
    ]
    return _saved(
        folder, "landmarks", nodes, source, (output,), constants | {"second": np.array([1])}
    )


def _saved(
    folder: Path,
    name: str,
    nodes: list[object],
    source: TensorSpec,
    outputs: tuple[TensorSpec, ...],
    constants: dict[str, NDArray[np.generic]],
) -> GraphSpec:
    kind = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(source.name, kind[source.dtype], source.shape)],
        [helper.make_tensor_value_info(t.name, kind[t.dtype], t.shape) for t in outputs],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    return GraphSpec(file=f"{name}.onnx", inputs=(source,), outputs=outputs, gate=GATE)
