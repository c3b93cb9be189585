"""pSp and e4e: an encoder becomes a bundle that finds the W+ codes of aligned faces."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate
from mien_export.checkpoints.faults import naming
from mien_export.checkpoints.psp import read_psp
from mien_export.content import Content, Extras
from mien_export.families.pictures import noise_pictures
from mien_export.graph import Graph, floats, picture_spec
from mien_export.nets.pictures import from_uint8
from mien_export.nets.psp import Psp, psp_from_tensors
from mien_export.nets.separable import area

GATE = Gate(kind="outputs", tolerance={"f32": 2e-3, "bf16": 0.08})


class Invert(nn.Module):
    """picture -> ws."""

    def __init__(self, encoder: Psp) -> None:
        super().__init__()
        self.encoder = encoder
        self.shrink = area(encoder.resolution, encoder.size)

    def forward(self, picture: Tensor) -> Tensor:
        ws: Tensor = self.encoder(self.shrink(from_uint8(picture)))
        return ws


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graph of a pSp or e4e encoder. Raises ModelError, InputError."""
    extras.only(family="encoder")
    read = read_psp(checkpoint)
    with naming(checkpoint):
        encoder = psp_from_tensors(read.tensors, read.network)
    return Content(
        graphs=[invert(encoder)],
        format=f"{read.network} .pt",
        sha256=read.sha256,
        properties={
            "resolution": encoder.resolution,
            "num_ws": encoder.layers,
            "w_dim": encoder.w_dim,
            "network": read.network,
        },
        constants={"latent_avg": encoder.latent_avg.numpy()},
    )


def invert(encoder: Psp) -> Graph:
    """Return the graph that encodes pictures of the generator's size."""
    size = encoder.resolution
    pictures = noise_pictures(size, torch.Generator().manual_seed(0))
    return Graph(
        "invert",
        Invert(encoder),
        (pictures,),
        (picture_spec("picture", size, size),),
        (floats("ws", ("N", encoder.layers, encoder.w_dim), "W+ code"),),
        GATE,
        samples={"picture": pictures[:1]},
    )
