"""StyleGAN2: an NVlabs .pkl or a rosinality .pt becomes a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mien_engines.errors import InputError
from mien_export.checkpoints import (
    Stylegan2Checkpoint,
    mean_w,
    read_safetensors,
    read_state_dict,
    read_stylegan2,
)
from mien_export.checkpoints.arcface import read_arcface
from mien_export.checkpoints.faults import naming
from mien_export.content import Content, Extras
from mien_export.families import arcface
from mien_export.families.stylegan2_graphs import stylegan2_graphs
from mien_export.nets.encoder import Encoder, encoder_from_tensors
from mien_export.nets.lpips import heads_from_tensors, vgg16_from_tensors
from mien_export.nets.resize import Resized
from mien_export.nets.stylegan2 import Generator, config_from_tensors
from mien_export.steps.terms import Perceptual

# What `mien.FAITHFUL` starts from: the mean of so many w, drawn with this seed.
MEAN_SAMPLES, MEAN_SEED = 10_000, 42
REDUCED = 256  # px: what NVlabs' projector compares of larger pictures
OWN_FEATURES = Path(__file__).parents[1] / "weights" / "faces128-encoder.safetensors"


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return a generator's graphs, its projection step, and its encoder's where one is given.

    With a recognition network come the graphs of the face swap. Without VGG and LPIPS the
    perceptual term compares feature maps of mien's own face encoder.
    Raises ModelError, InputError.
    """
    extras.only("vgg", "lpips", "encoder", "arcface", family="stylegan2")
    read = read_stylegan2(checkpoint)
    generator = generator_from_checkpoint(read)
    encoder = None if extras.encoder is None else _encoder(extras.encoder)
    net = None if extras.arcface is None else _recogniser(extras.arcface)
    config = generator.config
    term, reduced, description = _perceptual(extras, encoder, config.resolution)
    return Content(
        graphs=stylegan2_graphs(generator, term, encoder, net, reduced=reduced),
        format=read.format,
        sha256=read.sha256,
        properties={
            "resolution": config.resolution,
            "num_ws": config.num_ws,
            "w_dim": config.w_dim,
            "z_dim": config.z_dim,
            "label_dim": config.label_dim,
            "style_channels": [*generator.synthesis.style_channels],
            "perceptual": description,
            **({} if net is None else {"recogniser": arcface.name(net)}),
        },
        constants={
            "w_avg": generator.mapping.w_avg.numpy(),
            "w_mean": mean_w(read.tensors, MEAN_SAMPLES, MEAN_SEED),
        },
        notes=read.notes,
    )


def generator_from_checkpoint(read: Stylegan2Checkpoint) -> Generator:
    """Build the generator that the tensors describe, ready for export."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in read.tensors.items()}
    if "mapping.w_avg" not in tensors:
        tensors["mapping.w_avg"] = torch.from_numpy(mean_w(read.tensors, MEAN_SAMPLES, MEAN_SEED))
    generator = Generator(config_from_tensors(tensors, read.conv_clamp, read.architecture))
    generator.load_state_dict(tensors, strict=False)
    generator.drop_silent_noise()
    return generator.eval().requires_grad_(False)


def _perceptual(
    extras: Extras, encoder: Encoder | None, size: int
) -> tuple[Perceptual, Perceptual, str]:
    """The term on whole pictures, the term on pictures averaged to REDUCED, and their name."""
    if extras.vgg is not None and extras.lpips is not None:
        with naming(extras.vgg):
            features = vgg16_from_tensors(read_state_dict(extras.vgg))
        with naming(extras.lpips):
            heads = heads_from_tensors(read_state_dict(extras.lpips), features.widths())
        smaller = Resized(features, size, min(size, REDUCED))
        return Perceptual(features, heads), Perceptual(smaller, heads), "LPIPS 0.1, VGG-16"
    if (extras.vgg is None) != (extras.lpips is None):
        raise InputError(
            "LPIPS needs both the VGG-16 weights and the heads",
            hint="Add --vgg vgg16.pth --lpips vgg.pth, or neither",
        )
    own = encoder or _encoder(OWN_FEATURES)
    term = Perceptual(Resized(own.features, size, own.config.resolution))
    return term, term, "face encoder features"


def _encoder(path: Path) -> Encoder:
    with naming(path):
        return encoder_from_tensors(read_safetensors(path))


def _recogniser(path: Path) -> arcface.Net:
    with naming(path):
        return arcface.network(read_arcface(path))
