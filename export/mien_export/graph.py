"""What one graph of a bundle is: a module or a model, and what its tensors and accuracy promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onnx import ModelProto
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec

BATCH = 2  # of the examples: the exporter takes a size of 1 for a constant


@dataclass(frozen=True)
class Graph:
    """One graph to export. `inputs` and `outputs` describe what `module` takes and gives, in order.

    module: to be traced; or a model that is ONNX already and has the inputs and outputs of the
        specs, with every weight inside (nets.wrapped).
    examples: the module's inputs with a batch of BATCH; none for a model.
    samples: inputs to test backends with, batch 1, of those that no other graph gives out. One of
        rank 1 is repeated to fill an input of higher rank.
    """

    name: str
    module: nn.Module | ModelProto
    examples: Sequence[Tensor]
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    gate: Gate
    state: dict[str, str] = field(default_factory=dict)
    frequent: bool = False
    samples: dict[str, Tensor] = field(default_factory=dict)


# bf16 keeps 8 bits: a picture of 256 levels may move by a few, which nobody sees.
EXACT = Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.05})
PICTURE = Gate(kind="outputs", tolerance={"f32": 0.01, "bf16": 0.08, "fp16": 0.04})
# A step is judged by where a run of steps arrives: Adam's first steps are the gradient's signs.
DESCENT = Gate(
    kind="loop", steps=20, watch="loss", tolerance={"f32": 0.02, "bf16": 0.05, "fp16": 0.05}
)


def floats(name: str, shape: tuple[int | str, ...], meaning: str) -> TensorSpec:
    """Describe a float32 tensor."""
    return TensorSpec(name=name, dtype="float32", shape=shape, meaning=meaning)


def picture_spec(name: str, height: int | str, width: int | str) -> TensorSpec:
    """Describe pictures as users have them: uint8 RGB [N, H, W, 3]."""
    return TensorSpec(
        name=name, dtype="uint8", shape=("N", height, width, 3), range=(0, 255), colour="RGB"
    )


def image_spec(name: str, height: int | str, width: int | str) -> TensorSpec:
    """Describe images as networks have them: float32 RGB [N, 3, H, W] in [-1, 1]."""
    return TensorSpec(
        name=name, dtype="float32", shape=("N", 3, height, width), range=(-1, 1), colour="RGB"
    )


ENERGY = floats(
    "energy",
    ("N",),
    "mean square of the image before it became uint8: not finite where that was not",
)
