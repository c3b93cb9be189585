"""System 4: an identity encoder and a decoder with controls become a bundle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_export.checkpoints.faults import naming
from mien_export.checkpoints.keras import read_own_weights
from mien_export.content import Content, Extras
from mien_export.families.pictures import Render, noise_pictures
from mien_export.graph import BATCH, ENERGY, EXACT, PICTURE, Graph, floats, picture_spec
from mien_export.nets.build import build
from mien_export.nets.lookalike import WHAT, Lookalike, config_from_tensors
from mien_export.nets.pictures import from_uint8


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs encode and generate. Raises ModelError, InputError."""
    extras.only(family="lookalike")
    read = read_own_weights(checkpoint, ("encoder.identity",), ("decoder.first",))
    with naming(checkpoint):
        sizes = config_from_tensors(read.tensors)
        net = build(lambda: Lookalike(sizes), read.tensors, WHAT)
    config = net.config
    return Content(
        graphs=graphs(net),
        format=read.format,
        sha256=read.sha256,
        properties={
            "resolution": config.resolution,
            "identity": config.identity,
            "control": config.control,
        },
    )


class Encode(nn.Module):
    """picture -> identity."""

    def __init__(self, net: Lookalike) -> None:
        super().__init__()
        self.encoder = net.encoder

    def forward(self, picture: Tensor) -> Tensor:
        identity: Tensor = self.encoder(from_uint8(picture))
        return identity


def graphs(net: Lookalike) -> list[Graph]:
    """Return the graphs of the bundle."""
    config = net.config
    picture = picture_spec("picture", config.resolution, config.resolution)
    identity = floats("identity", ("N", config.identity), "who the face is")
    control = floats("control", ("N", config.control), "how it is drawn, trained in [-1, 1]")
    random = torch.Generator().manual_seed(0)
    pictures = noise_pictures(config.resolution, random)
    who = torch.randn(BATCH, config.identity, generator=random)
    how = torch.rand(BATCH, config.control, generator=random) * 2 - 1
    return [
        Graph(
            "encode",
            Encode(net),
            (pictures,),
            (picture,),
            (identity,),
            EXACT,
            samples={"picture": pictures[:1]},
        ),
        Graph(
            "generate",
            Render(net.decoder),
            (who, how),
            (identity, control),
            (picture, ENERGY),
            PICTURE,
            frequent=True,
            samples={"identity": who[:1], "control": how[:1]},
        ),
    ]
