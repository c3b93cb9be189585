"""StyleGAN1: IVRL's or lernapparat's state dict becomes a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien_export.checkpoints import Stylegan1Checkpoint, read_stylegan1
from mien_export.checkpoints.faults import naming
from mien_export.content import Content, Extras
from mien_export.families.local_graphs import Features, local_graphs
from mien_export.families.w_plus import w_plus_graphs, ws_spec
from mien_export.graph import BATCH, EXACT, Graph, floats
from mien_export.nets.stylegan1 import (
    Generator,
    config_from_tensors,
    drawn_noise,
    generator_from_tensors,
)
from mien_export.nets.stylegan1_synthesis import Epilogue

NOISE_SEED = 0
# Of the mean w, where the file has none: so many z, drawn with this seed.
MEAN_SAMPLES, MEAN_SEED = 10_000, 42
AVERAGE = "truncation.avg_latent"


class Mapping(nn.Module):
    """z, psi -> w, ws."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.g_mapping, self.truncation = generator.g_mapping, generator.truncation

    def forward(self, z: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        w = self.g_mapping(z)
        return w, self.truncation(w, psi)


class Styles(nn.Module):
    """ws -> styles."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.g_style = generator.g_style

    def forward(self, ws: Tensor) -> Tensor:
        styles: Tensor = self.g_style(ws)
        return styles


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs from z to picture, with the styles of all layers on the way.

    Noise is in no file: it is drawn once and kept. Raises ModelError, InputError.
    """
    extras.only(family="stylegan1")
    read = read_stylegan1(checkpoint)
    with naming(checkpoint):
        generator = generator_from_checkpoint(read)
    config = generator.config
    notes = [f"no noise in the file: it is drawn once, with seed {NOISE_SEED}"]
    if AVERAGE not in read.tensors:
        notes.append("no mean w in the file: it is estimated from samples")
    return Content(
        graphs=stylegan1_graphs(generator),
        format=read.format,
        sha256=read.sha256,
        properties={
            "resolution": config.resolutions[-1],
            "num_ws": config.num_ws,
            "w_dim": config.w_dim,
            "z_dim": config.z_dim,
            "label_dim": 0,
            "style_channels": [*config.style_channels],
        },
        constants={"w_avg": generator.truncation.avg_latent.numpy()},
        notes=tuple(notes),
    )


def generator_from_checkpoint(read: Stylegan1Checkpoint) -> Generator:
    """Build the generator that the tensors describe. Raises ArchMismatch."""
    config = config_from_tensors(read.tensors)
    average = {AVERAGE: np.zeros(config.w_dim, np.float32)}
    pictures = drawn_noise(config, NOISE_SEED)
    generator = generator_from_tensors(average | read.tensors, pictures)
    if AVERAGE not in read.tensors:
        generator.truncation.avg_latent.copy_(mean_w(generator))
    return generator


def mean_w(generator: Generator) -> Tensor:  # [w_dim]
    """Return the mean w of MEAN_SAMPLES z."""
    z = np.random.RandomState(MEAN_SEED).randn(MEAN_SAMPLES, generator.config.z_dim)
    w: Tensor = generator.g_mapping(torch.from_numpy(z.astype(np.float32)))
    return w.mean(0)


def stylegan1_graphs(generator: Generator) -> list[Graph]:
    """Return the graphs of a StyleGAN1 bundle."""
    config = generator.config
    layers, size = config.num_ws, config.resolutions[-1]
    z = torch.randn(BATCH, config.z_dim, generator=torch.Generator().manual_seed(0))
    psi = torch.full((layers,), 0.7)
    _, ws = Mapping(generator)(z, psi)
    code = ws_spec(layers, config.w_dim)
    epilogues = [m for m in generator.modules() if isinstance(m, Epilogue)]
    return [
        Graph(
            "mapping",
            Mapping(generator),
            (z, psi),
            (
                floats("z", ("N", config.z_dim), "standard normal"),
                floats("psi", (layers,), "truncation of each layer: 1 none, 0 the mean face"),
            ),
            (floats("w", ("N", config.w_dim), "before truncation"), code),
            EXACT,
            samples={"z": z[:1], "psi": psi},
        ),
        *local_graphs(
            Styles(generator),
            generator.g_synthesis,
            Features(generator, epilogues, entering=False),
            ws,
            size,
            "of all layers, style_channels each: scale less 1, then shift",
        ),
        *w_plus_graphs(generator, ws, size),
    ]
