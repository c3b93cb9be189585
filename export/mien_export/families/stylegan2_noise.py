"""The graphs of a search in W with noise maps: `project_noise_target`, `project_noise_step`."""

from __future__ import annotations

import torch
from torch import Tensor

from mien_engines.spec import Gate, TensorSpec
from mien_export.families.pictures import blanks
from mien_export.graph import BATCH, DESCENT, Graph, floats
from mien_export.nets.stylegan2 import Generator
from mien_export.steps.noise import TERMS, NoiseStep, NoiseTarget, deviation_of_w
from mien_export.steps.terms import Perceptual

GRAIN = 4093  # numbers that the samples' noise maps repeat; prime, so that rows are not alike


def noise_graphs(
    generator: Generator,
    perceptual: Perceptual,
    variance: float,  # of w, the mean over its axes
    example: Tensor,  # uint8 [BATCH, H, W, 3]
    picture: TensorSpec,
) -> list[Graph]:
    """Return the search's two graphs; perceptual is the term of pictures of at most 256 px."""
    config = generator.config
    preparation = NoiseTarget(perceptual)
    wanted = blanks(preparation, example)
    wanted_specs = tuple(
        floats(f"reduced_{i}", ("N", *x.shape[1:]), "weighted features of the target, 256 px")
        for i, x in enumerate(wanted)
    )
    step = NoiseStep(generator.synthesis, perceptual, deviation_of_w(variance, config.w_dim))
    code, row = ("N", config.w_dim), ("N", step.pixels)
    state_specs = (
        floats("w", code, "code, of all layers"),
        floats("w_m", code, "Adam's first moment of w"),
        floats("w_v", code, "Adam's second moment of w"),
        floats("noise", row, "noise maps of the layers, from 4 px up, one after another"),
        floats("noise_m", row, "Adam's first moment of noise"),
        floats("noise_v", row, "Adam's second moment of noise"),
        floats("t", (1,), "steps taken"),
    )
    setting_specs = (
        floats("rate", (1,), "learning rate of this step"),
        floats("strength", (1,), "of the noise on w, in units of sqrt(E |w - mean w|^2)"),
        floats("draw", code, "standard normal: the noise on w"),
        floats("regularisation", (1,), "weight of the noise term"),
    )
    source = torch.Generator().manual_seed(0)
    w = generator.mapping.w_avg.expand(BATCH, -1).clone()
    grain = torch.randn(GRAIN, generator=source)
    noise = grain.repeat(-(-step.pixels // GRAIN))[: step.pixels].expand(BATCH, -1).clone()
    state = (w, 0 * w, 0 * w, noise, 0 * noise, 0 * noise, torch.zeros(1))
    draw = torch.randn(BATCH, config.w_dim, generator=source)
    settings = (torch.tensor([0.05]), torch.tensor([0.02]), draw, torch.tensor([1e5]))
    return [
        Graph(
            "project_noise_target",
            preparation,
            (example,),
            (picture,),
            wanted_specs,
            Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.05}),
        ),
        Graph(
            "project_noise_step",
            step,
            (*state, *settings, *wanted),
            (*state_specs, *setting_specs, *wanted_specs),
            (
                *(s.model_copy(update={"name": f"{s.name}_next"}) for s in state_specs),
                floats("loss", ("N",), "the perceptual term, before the step"),
                floats("terms", ("N", len(TERMS)), "the terms " + ", ".join(TERMS)),
                picture,
            ),
            DESCENT,
            state={f"{s.name}_next": s.name for s in state_specs},
            samples={
                "w": w[:1],
                "w_m": 0 * w[:1],
                "w_v": 0 * w[:1],
                "noise": grain,
                "noise_m": torch.zeros(1),
                "noise_v": torch.zeros(1),
                "t": torch.zeros(1),
                "rate": settings[0],
                "strength": settings[1],
                "draw": draw[:1],
                "regularisation": settings[3],
            },
        ),
    ]
