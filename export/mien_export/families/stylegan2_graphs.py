"""The graphs of a StyleGAN2 bundle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec
from mien_export.families.arcface import Net
from mien_export.families.local_graphs import Features, local_graphs
from mien_export.families.pictures import blanks, soft_pictures
from mien_export.families.stylegan2_noise import noise_graphs
from mien_export.families.swap_graphs import swap_graphs
from mien_export.families.w_plus import w_plus_graphs, ws_spec
from mien_export.graph import BATCH, DESCENT, EXACT, Graph, floats, picture_spec
from mien_export.nets.pictures import from_uint8
from mien_export.nets.stylegan2 import Generator, Synthesis
from mien_export.steps.latent import TERMS, ProjectionStep, ProjectionTarget
from mien_export.steps.terms import Perceptual

VARIANCE_SAMPLES = 1000


class Mapping(nn.Module):
    """z, label where classes are known, psi -> w, ws."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.mapping = generator.mapping

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *source, psi = inputs
        w = self.mapping(*source)
        return w, self.mapping.truncated(w, psi)


class Styles(nn.Module):
    """ws -> styles."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, ws: Tensor) -> Tensor:
        return torch.cat(self.synthesis.styles(ws), 1)


class FromStyles(nn.Module):
    """styles -> image."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, styles: Tensor) -> Tensor:
        sizes = [layer.affine.weight.shape[0] for layer in self.synthesis.modulated()]
        return self.synthesis.drawn(torch.split(styles, sizes, 1))


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
    recogniser: Net | None = None,
    *,
    reduced: Perceptual | None = None,
) -> list[Graph]:
    """Return the graphs of a StyleGAN2 bundle; `invert` where an encoder comes with it, and the
    swap's where a recognition network does.

    reduced: the perceptual term on pictures averaged down to 256 px, for the search with noise
        maps; None is `perceptual` itself.
    """
    config = generator.config
    variance = w_variance(generator)
    mapping = _mapping(generator)
    _, ws = Mapping(generator)(*mapping.examples)
    example = soft_pictures(config.resolution)
    picture = picture_spec("picture", config.resolution, config.resolution)
    graphs = [
        mapping,
        *w_plus_graphs(generator.synthesis, ws, config.resolution),
        *local_graphs(
            Styles(generator.synthesis),
            FromStyles(generator.synthesis),
            Features(generator.synthesis, generator.synthesis.layers(), entering=True),
            ws,
            config.resolution,
            "scales of the channels that enter each convolution, style_channels each, then those "
            "of the layers to RGB",
        ),
        *_projection(generator, perceptual, variance, example, picture),
        *noise_graphs(generator, reduced or perceptual, variance, example, picture),
    ]
    if recogniser is not None:
        prepared = next(g for g in graphs if g.name == "project_target").outputs
        graphs += swap_graphs(generator, perceptual, recogniser, tuple(prepared), variance)
    if encoder is not None:
        graphs.append(
            Graph(
                "invert", Invert(encoder), (example,), (picture,),
                (ws_spec(config.num_ws, config.w_dim),),
                Gate(kind="outputs", tolerance={"f32": 2e-3, "bf16": 0.05}),
            )
        )  # fmt: skip
    return graphs


def _mapping(generator: Generator) -> Graph:
    config = generator.config
    z = torch.randn(BATCH, config.z_dim, generator=torch.Generator().manual_seed(0))
    psi = torch.full((config.num_ws,), 0.7)
    inputs = [(floats("z", ("N", config.z_dim), "standard normal"), z)]
    if config.label_dim:
        label = torch.eye(config.label_dim)[torch.arange(BATCH) % config.label_dim]
        inputs.append((floats("label", ("N", config.label_dim), "class, one-hot"), label))
    levels = floats("psi", psi.shape, "truncation of each layer: 1 none, 0 the mean face")
    return Graph(
        "mapping",
        Mapping(generator),
        (*(example for _, example in inputs), psi),
        (*(spec for spec, _ in inputs), levels),
        (
            floats("w", ("N", config.w_dim), "before truncation"),
            ws_spec(config.num_ws, config.w_dim),
        ),
        EXACT,
        samples={**{spec.name: example[:1] for spec, example in inputs}, "psi": psi},
    )


@torch.no_grad()
def w_variance(generator: Generator) -> float:
    """Return the variance of w, the mean over its axes, from VARIANCE_SAMPLES random faces."""
    config = generator.config
    noise = torch.Generator().manual_seed(0)
    inputs = [torch.randn(VARIANCE_SAMPLES, config.z_dim, generator=noise)]
    if config.label_dim:
        inputs.append(
            torch.eye(config.label_dim)[torch.arange(VARIANCE_SAMPLES) % config.label_dim]
        )
    return float(generator.mapping(*inputs).var(0).mean())


def _projection(
    generator: Generator,
    perceptual: Perceptual,
    variance: float,
    example: Tensor,
    picture: TensorSpec,
) -> list[Graph]:
    config = generator.config
    average = generator.mapping.w_avg
    preparation = ProjectionTarget(perceptual)
    target = blanks(preparation, example)
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
    step = ProjectionStep(generator.synthesis, perceptual, config.resolution, variance)
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
