"""The graphs that every generator with a W+ code has: `synthesis`, `render`, `mix`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec
from mien_export.families.pictures import Render
from mien_export.graph import ENERGY, PICTURE, Graph, floats, image_spec, picture_spec
from mien_export.nets.pictures import to_uint8


class Synthesis(nn.Module):
    """ws, noise -> image."""

    def __init__(self, synthesis: nn.Module) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, ws: Tensor, noise: Tensor) -> Tensor:
        image: Tensor = self.synthesis(ws, noise)
        return image


class Mix(nn.Module):
    """Two codes, layer by layer -> picture.

    weight is that of ws_a: 1 keeps a layer of a, 0 takes it from b, others interpolate, and
    values outside [0, 1] extrapolate.
    """

    def __init__(self, synthesis: nn.Module) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, ws_a: Tensor, ws_b: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        ws = ws_b + weight[None, :, None] * (ws_a - ws_b)
        return *to_uint8(self.synthesis(ws)), ws


def ws_spec(layers: int, width: int) -> TensorSpec:
    return floats("ws", ("N", layers, width), "W+ code")


def w_plus_graphs(
    synthesis: nn.Module,
    ws: Tensor,  # [BATCH, num_ws, w_dim], examples
    resolution: int,
) -> list[Graph]:
    """Return the graphs of a synthesis that takes ws and a factor of its noise, [1]."""
    _, layers, width = ws.shape
    code = ("N", layers, width)
    spec = ws_spec(layers, width)
    picture = picture_spec("picture", resolution, resolution)
    weight = torch.linspace(1, 0, layers)
    return [
        Graph(
            "synthesis",
            Synthesis(synthesis),
            (ws, torch.ones(1)),
            (spec, floats("noise", (1,), "factor of the stored noise: 1 const, 0 none")),
            (image_spec("image", resolution, resolution),),
            Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.08}),
            samples={"ws": ws[:1], "noise": torch.ones(1)},
        ),
        Graph(
            "render",
            Render(synthesis),
            (ws,),
            (spec,),
            (picture, ENERGY),
            PICTURE,
            samples={"ws": ws[:1]},
        ),
        Graph(
            "mix",
            Mix(synthesis),
            (ws, ws.flip(0), weight),
            (
                floats("ws_a", code, "W+ code"),
                floats("ws_b", code, "W+ code"),
                floats("weight", (layers,), "weight of ws_a in each layer"),
            ),
            (picture, ENERGY, spec),
            PICTURE,
            samples={"ws_a": ws[:1], "ws_b": ws[1:], "weight": weight},
        ),
    ]
