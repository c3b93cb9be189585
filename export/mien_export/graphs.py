"""Which graphs a family's bundle holds: modules, the names of their tensors, what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec
from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.stylegan2 import Generator
from mien_export.steps.latent import TERMS, ProjectionStep, ProjectionTarget
from mien_export.steps.terms import Perceptual

BATCH = 2  # of the examples: the exporter takes a size of 1 for a constant


@dataclass(frozen=True)
class Graph:
    """One graph to export. `inputs` and `outputs` describe what `module` takes and gives, in order.

    examples: the module's inputs with a batch of BATCH.
    samples: inputs to test backends with, batch 1, of those that no other graph gives out.
    """

    name: str
    module: nn.Module
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


class Mapping(nn.Module):
    """z, psi -> w, ws."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.mapping = generator.mapping

    def forward(self, z: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        w = self.mapping(z)
        return w, self.mapping.truncated(w, psi)


class Synthesis(nn.Module):
    """ws, noise -> image."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(self, ws: Tensor, noise: Tensor) -> Tensor:
        image: Tensor = self.synthesis(ws, noise)
        return image


class Render(nn.Module):
    """ws -> picture."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        return to_uint8(self.synthesis(ws))


class Mix(nn.Module):
    """Two codes, layer by layer -> picture.

    weight is that of ws_a: 1 keeps a layer of a, 0 takes it from b, others interpolate, and
    values outside [0, 1] extrapolate.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(self, ws_a: Tensor, ws_b: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        ws = ws_b + weight[None, :, None] * (ws_a - ws_b)
        return *to_uint8(self.synthesis(ws)), ws


class Invert(nn.Module):
    """picture -> ws, by the encoder."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> Tensor:
        ws: Tensor = self.encoder(from_uint8(picture))
        return ws


def stylegan2_graphs(
    generator: Generator,
    perceptual: Perceptual,
    encoder: nn.Module | None = None,
) -> list[Graph]:
    """Return the graphs of a StyleGAN2 bundle; `invert` where an encoder comes with it."""
    config = generator.config
    size, layers, width = config.resolution, config.num_ws, config.w_dim
    z = torch.randn(BATCH, config.z_dim, generator=torch.Generator().manual_seed(0))
    psi = torch.full((layers,), 0.7)
    ws = generator.mapping.truncated(generator.mapping(z), psi)
    weight = torch.linspace(1, 0, layers)

    code = ("N", layers, width)
    ws_spec = TensorSpec(name="ws", dtype="float32", shape=code, meaning="W+ code")
    picture_spec = TensorSpec(
        name="picture", dtype="uint8", shape=("N", size, size, 3), range=(0, 255), colour="RGB"
    )
    energy_spec = TensorSpec(
        name="energy",
        dtype="float32",
        shape=("N",),
        meaning="mean square of the image before it became uint8: not finite where that was not",
    )
    image_spec = TensorSpec(
        name="image", dtype="float32", shape=("N", 3, size, size), range=(-1, 1), colour="RGB"
    )
    graphs = [
        Graph(
            "mapping",
            Mapping(generator),
            (z, psi),
            (
                _float("z", ("N", config.z_dim), "standard normal"),
                _float("psi", (layers,), "truncation of each layer: 1 none, 0 the mean face"),
            ),
            (_float("w", ("N", width), "before truncation"), ws_spec),
            EXACT,
            samples={"z": z[:1], "psi": psi},
        ),
        Graph(
            "synthesis",
            Synthesis(generator),
            (ws, torch.ones(1)),
            (ws_spec, _float("noise", (1,), "factor of the stored noise: 1 const, 0 none")),
            (image_spec,),
            Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.08}),
            samples={"ws": ws[:1], "noise": torch.ones(1)},
        ),
        Graph(
            "render",
            Render(generator),
            (ws,),
            (ws_spec,),
            (picture_spec, energy_spec),
            PICTURE,
            samples={"ws": ws[:1]},
        ),
        Graph(
            "mix",
            Mix(generator),
            (ws, ws.flip(0), weight),
            (
                _float("ws_a", code, "W+ code"),
                _float("ws_b", code, "W+ code"),
                _float("weight", (layers,), "weight of ws_a in each layer"),
            ),
            (picture_spec, energy_spec, ws_spec),
            PICTURE,
            samples={"ws_a": ws[:1], "ws_b": ws[1:], "weight": weight},
        ),
        *_projection(generator, perceptual, ws, picture_spec),
    ]
    if encoder is not None:
        picture = Render(generator)(ws)[0]
        graphs.append(
            Graph(
                "invert", Invert(encoder), (picture,), (picture_spec,), (ws_spec,),
                Gate(kind="outputs", tolerance={"f32": 2e-3, "bf16": 0.05}),
            )
        )  # fmt: skip
    return graphs


def _projection(
    generator: Generator, perceptual: Perceptual, ws: Tensor, picture_spec: TensorSpec
) -> list[Graph]:
    config = generator.config
    average = generator.mapping.w_avg
    preparation = ProjectionTarget(perceptual)
    picture = Render(generator)(ws)[0]
    target = preparation(picture)
    names = ["target", *(f"wanted_{i}" for i in range(len(target) - 1))]
    meanings = ["float image", *("weighted features of the target" for _ in target[1:])]
    target_specs = tuple(
        _float(n, ("N", *t.shape[1:]), m) for n, t, m in zip(names, target, meanings, strict=True)
    )
    code = ("N", config.num_ws, config.w_dim)
    state_specs = (
        _float("ws", code, "W+ code"),
        _float("m", code, "Adam's first moment"),
        _float("v", code, "Adam's second moment"),
        _float("t", (1,), "steps taken"),
    )
    setting_specs = (
        _float("rate", (1,), "learning rate of the first step"),
        _float("decay", (1,), "factor of the learning rate at each later step"),
        _float("term_weights", (len(TERMS),), "weights of the terms " + ", ".join(TERMS)),
    )
    start = average.expand(BATCH, config.num_ws, config.w_dim).clone()
    zeros = torch.zeros_like(start)
    settings = (torch.tensor([0.05]), torch.tensor([0.99]), torch.tensor([1.0, 0.5, 0.0, 0.0]))
    state = (start, zeros, zeros.clone(), torch.zeros(1))
    step = ProjectionStep(generator.synthesis, perceptual, config.resolution, average)
    return [
        Graph(
            "project_target",
            preparation,
            (picture,),
            (picture_spec,),
            target_specs,
            Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.05}),
        ),
        Graph(
            "project_step",
            step,
            (*state, *settings, *target),
            (*state_specs, *setting_specs, *target_specs),
            (
                *(s.model_copy(update={"name": f"{s.name}_next"}) for s in state_specs),
                _float("loss", ("N",), "weighted sum of the terms, before the step"),
                _float("terms", ("N", len(TERMS)), "the terms " + ", ".join(TERMS)),
            ),
            DESCENT,
            state={f"{s.name}_next": s.name for s in state_specs},
            samples={
                **{s.name: x[:1] for s, x in zip(state_specs, state, strict=True)},
                **{s.name: x for s, x in zip(setting_specs, settings, strict=True)},
            },
        ),
    ]


def _float(name: str, shape: tuple[int | str, ...], meaning: str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape, meaning=meaning)
