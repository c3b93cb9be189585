"""The graphs of a face swap: the donor's embedding, and the step."""

from __future__ import annotations

import torch

from mien_engines.spec import TensorSpec
from mien_export.families.arcface import GATE, Net, framing
from mien_export.families.pictures import blanks, soft_pictures
from mien_export.graph import BATCH, DESCENT, Graph, floats, picture_spec
from mien_export.nets.recogniser import Recogniser
from mien_export.nets.stylegan2 import Generator
from mien_export.steps.latent import ProjectionTarget
from mien_export.steps.swap import TERMS, IdentityTarget, SwapStep
from mien_export.steps.terms import Perceptual

# Of the gate's samples, as mien.SwapSettings has them.
SETTINGS = (
    torch.tensor([0.05]),
    torch.tensor([0.97]),
    torch.tensor([0.3, 0.1, 8.0, 8.0, 3.0, 0.3]),
)


def swap_graphs(
    generator: Generator,
    perceptual: Perceptual,
    net: Net,
    target_specs: tuple[TensorSpec, ...],  # outputs of `project_target`
    variance: float,  # of w
) -> list[Graph]:
    """Return `swap_identity` and `swap_step`; the attributes' features are `project_target`'s."""
    config = generator.config
    recogniser = Recogniser(net, framing(net, config.resolution))
    start = generator.mapping.w_avg.expand(BATCH, config.num_ws, config.w_dim).clone()
    zeros = torch.zeros_like(start)
    picture = soft_pictures(config.resolution)
    donor = IdentityTarget(recogniser)
    targets = (*blanks(donor, picture), *blanks(ProjectionTarget(perceptual), picture))
    identity = floats("identity", ("N", net.embedding), "embedding of the donor, of length 1")
    code = ("N", config.num_ws, config.w_dim)
    state_specs = (
        floats("ws", code, "W+ code"),
        floats("m", code, "Adam's first moment"),
        floats("v", code, "Adam's second moment"),
        floats("t", (1,), "steps taken"),
        floats("start", code, "W+ code that the run started with"),
    )
    setting_specs = (
        floats("rate", (1,), "learning rate of the first step"),
        floats("decay", (1,), "factor of the learning rate at each later step"),
        floats("term_weights", (len(TERMS),), "weights of the terms " + ", ".join(TERMS)),
    )
    state = (start, zeros, zeros.clone(), torch.zeros(1), start.clone())
    step = SwapStep(generator.synthesis, perceptual, recogniser, config.resolution, variance)
    return [
        Graph(
            "swap_identity",
            donor,
            (picture,),
            (picture_spec("picture", config.resolution, config.resolution),),
            (identity,),
            GATE,
        ),
        Graph(
            "swap_step",
            step,
            (*state, *SETTINGS, *targets),
            (*state_specs, *setting_specs, identity, *target_specs),
            (
                *(s.model_copy(update={"name": f"{s.name}_next"}) for s in state_specs),
                floats("loss", ("N",), "weighted sum of the terms, before the step"),
                floats("terms", ("N", len(TERMS)), "the terms " + ", ".join(TERMS)),
            ),
            DESCENT,
            state={f"{s.name}_next": s.name for s in state_specs},
            samples={
                **{s.name: x[:1] for s, x in zip(state_specs, state, strict=True)},
                **{s.name: x for s, x in zip(setting_specs, SETTINGS, strict=True)},
            },
        ),
    ]
