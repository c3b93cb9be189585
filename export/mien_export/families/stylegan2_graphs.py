"""The graphs of a StyleGAN2 bundle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec
from mien_export.graph import (
    BATCH,
    DESCENT,
    ENERGY,
    EXACT,
    PICTURE,
    Graph,
    floats,
    image_spec,
    picture_spec,
)
from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.stylegan2 import Generator
from mien_export.steps.latent import TERMS, ProjectionStep, ProjectionTarget
from mien_export.steps.terms import Perceptual


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
    picture = picture_spec("picture", size, size)
    graphs = [
        Graph(
            "mapping",
            Mapping(generator),
            (z, psi),
            (
                floats("z", ("N", config.z_dim), "standard normal"),
                floats("psi", (layers,), "truncation of each layer: 1 none, 0 the mean face"),
            ),
            (floats("w", ("N", width), "before truncation"), ws_spec),
            EXACT,
            samples={"z": z[:1], "psi": psi},
        ),
        Graph(
            "synthesis",
            Synthesis(generator),
            (ws, torch.ones(1)),
            (ws_spec, floats("noise", (1,), "factor of the stored noise: 1 const, 0 none")),
            (image_spec("image", size, size),),
            Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.08}),
            samples={"ws": ws[:1], "noise": torch.ones(1)},
        ),
        Graph(
            "render",
            Render(generator),
            (ws,),
            (ws_spec,),
            (picture, ENERGY),
            PICTURE,
            samples={"ws": ws[:1]},
        ),
        Graph(
            "mix",
            Mix(generator),
            (ws, ws.flip(0), weight),
            (
                floats("ws_a", code, "W+ code"),
                floats("ws_b", code, "W+ code"),
                floats("weight", (layers,), "weight of ws_a in each layer"),
            ),
            (picture, ENERGY, ws_spec),
            PICTURE,
            samples={"ws_a": ws[:1], "ws_b": ws[1:], "weight": weight},
        ),
        *_projection(generator, perceptual, ws, picture),
    ]
    if encoder is not None:
        example = Render(generator)(ws)[0]
        graphs.append(
            Graph(
                "invert", Invert(encoder), (example,), (picture,), (ws_spec,),
                Gate(kind="outputs", tolerance={"f32": 2e-3, "bf16": 0.05}),
            )
        )  # fmt: skip
    return graphs


def _projection(
    generator: Generator, perceptual: Perceptual, ws: Tensor, picture: TensorSpec
) -> list[Graph]:
    config = generator.config
    average = generator.mapping.w_avg
    preparation = ProjectionTarget(perceptual)
    example = Render(generator)(ws)[0]
    target = preparation(example)
    names = ["target", *(f"wanted_{i}" for i in range(len(target) - 1))]
    meanings = ["float image", *("weighted features of the target" for _ in target[1:])]
    target_specs = tuple(
        floats(n, ("N", *t.shape[1:]), m) for n, t, m in zip(names, target, meanings, strict=True)
    )
    code = ("N", config.num_ws, config.w_dim)
    state_specs = (
        floats("ws", code, "W+ code"),
        floats("m", code, "Adam's first moment"),
        floats("v", code, "Adam's second moment"),
        floats("t", (1,), "steps taken"),
    )
    setting_specs = (
        floats("rate", (1,), "learning rate of the first step"),
        floats("decay", (1,), "factor of the learning rate at each later step"),
        floats("term_weights", (len(TERMS),), "weights of the terms " + ", ".join(TERMS)),
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
            (example,),
            (picture,),
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
                floats("loss", ("N",), "weighted sum of the terms, before the step"),
                floats("terms", ("N", len(TERMS)), "the terms " + ", ".join(TERMS)),
            ),
            DESCENT,
            state={f"{s.name}_next": s.name for s in state_specs},
            samples={
                **{s.name: x[:1] for s, x in zip(state_specs, state, strict=True)},
                **{s.name: x for s, x in zip(setting_specs, settings, strict=True)},
            },
        ),
    ]
