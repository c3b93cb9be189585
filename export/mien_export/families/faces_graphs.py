"""What `detect` and `landmarks` take and give, whoever's network it is; and mien's own as graphs.

A reader of the one network reads the other: the coding of `detect` is YuNet's (Wu et al. 2023), the
crop of `landmarks` PFLD's (Guo et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_engines.spec import TensorSpec
from mien_export.content import Property
from mien_export.graph import BATCH, EXACT, Graph, floats, picture_spec
from mien_export.nets.face_detector import LONGEST, STRIDES, FaceDetector
from mien_export.nets.landmarks68 import POINTS, Landmarks68
from mien_export.nets.pictures import from_uint8
from mien_export.nets.wrapped import closed

# Of each cell of a stride: probability of a face, of an object; box; five points.
VALUES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
MEANINGS = {
    "cls": "probability of a face in each cell, row by row",
    "obj": "probability that the cell's box is a good one",
    "bbox": "centre against the cell and logarithm of width and height, in strides",
    "kps": "x, y of eyes, nose and mouth corners against the cell, in strides",
}
CROP = 1.2  # side of the square that `landmarks` looks at, over the longer side of the face's box
SAMPLE = 320  # px, where sides are open
EXAMPLE = (96, 160)  # height and width in px; not equal, or they are taken for one size

Size = int | str


def detect_input(name: str, sizes: tuple[Size, Size, Size], multiple: int) -> TensorSpec:
    """Describe what a detector sees. sizes: batch, height, width."""
    return TensorSpec(
        name=name,
        dtype="float32",
        shape=(sizes[0], 3, *sizes[1:]),
        range=(0, 255),
        meaning=f"BGR, not RGB; sides a multiple of {multiple} px",
    )


def detect_output(part: str, stride: int, batch: Size, cells: Size) -> TensorSpec:
    """Describe one part of what the cells of a stride say."""
    return floats(f"{part}_{stride}", (batch, cells, VALUES[part]), MEANINGS[part])


def detect_properties(strides: list[int]) -> dict[str, Property]:
    return {"strides": [*strides], "values": [*VALUES], "colour": "BGR"}


def own_detect_properties() -> dict[str, Property]:
    return {**detect_properties([*STRIDES]), "longest": LONGEST}


def landmarks_input(batch: Size, size: int) -> TensorSpec:
    """Describe the crop of a face."""
    return picture_spec("picture", size, size).model_copy(
        update={
            "shape": (batch, size, size, 3),
            "meaning": f"square of {CROP} times the face's box",
        }
    )


def landmarks_output(batch: Size, count: int) -> TensorSpec:
    return floats("landmarks", (batch, count, 2), "x, y in px of the picture")


def landmarks_properties(count: int, size: int) -> dict[str, Property]:
    return {"points": count, "resolution": size, "crop": CROP}


def noise(shape: tuple[Size, ...]) -> Tensor:
    """Seeded uniform noise in [0, 1]."""
    return torch.rand(closed(shape, SAMPLE), generator=torch.Generator().manual_seed(0))


class Points(nn.Module):
    """picture -> points in its px."""

    def __init__(self, net: Landmarks68) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Tensor:
        points: Tensor = self.net(from_uint8(picture))
        return points * self.net.size


def own_detect(net: FaceDetector) -> Graph:
    """Return the graph of mien's own detector."""
    image = detect_input("input", ("N", "H", "W"), STRIDES[-1])
    outputs = [
        detect_output(part, stride, "N", f"cells_{stride}") for part in VALUES for stride in STRIDES
    ]
    seen = noise((BATCH, 3, *EXAMPLE)) * 255
    return Graph(
        "detect", net, (seen,), (image,), outputs, EXACT,
        frequent=True, samples={"input": seen[:1]},
    )  # fmt: skip


def own_landmarks(net: Landmarks68) -> Graph:
    """Return the graph of mien's own 68 points."""
    picture = landmarks_input("N", net.size)
    seen = (noise((BATCH, *picture.shape[1:])) * 255).to(torch.uint8)
    return Graph(
        "landmarks", Points(net), (seen,), (picture,), (landmarks_output("N", POINTS),), EXACT,
        frequent=True, samples={"picture": seen[:1]},
    )  # fmt: skip
