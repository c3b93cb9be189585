"""StyleGAN2: an NVlabs .pkl or a rosinality .pt becomes a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_engines.errors import InputError
from mien_engines.spec import Source
from mien_export.checkpoints import (
    Stylegan2Checkpoint,
    mean_w,
    read_safetensors,
    read_state_dict,
    read_stylegan2,
)
from mien_export.graphs import stylegan2_graphs
from mien_export.nets.encoder import Encoder, encoder_from_tensors
from mien_export.nets.resize import Resized
from mien_export.nets.stylegan2 import Generator, config_from_tensors
from mien_export.nets.vgg import heads_from_tensors, vgg16_from_tensors
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import Progress, write_bundle

# What `mien.FAITHFUL` starts from: the mean of so many w, drawn with this seed.
MEAN_SAMPLES, MEAN_SEED = 10_000, 42
OWN_FEATURES = Path(__file__).parents[1] / "weights" / "faces128-encoder.safetensors"


@dataclass(frozen=True)
class Options:
    """What the user decides.

    vgg, lpips: torchvision's vgg16 and the LPIPS heads of version 0.1 for VGG; without them the
        perceptual term compares feature maps of mien's own face encoder.
    encoder: a safetensors file of an encoder into this generator's W+.
    half: store weights as float16; graphs still compute in float32.
    licence: of the checkpoint, for the bundle's record.
    """

    vgg: Path | None = None
    lpips: Path | None = None
    encoder: Path | None = None
    half: bool = False
    licence: str = "not stated"
    name: str | None = None
    overwrite: bool = False


def export_stylegan2(
    checkpoint: Path,
    folder: Path,
    options: Options,
    progress: Progress = lambda what, done, total: None,
) -> tuple[str, ...]:
    """Read checkpoint and write its bundle to folder. Returns remarks the user should know.

    Raises ModelError where the checkpoint cannot be used; nothing is left behind then.
    """
    if folder.exists() and not options.overwrite:
        raise InputError(f"{folder} exists already", hint="Name another folder or add --overwrite")
    read = read_stylegan2(checkpoint)
    generator = generator_from_checkpoint(read)
    encoder = None if options.encoder is None else _encoder(options.encoder)
    term, description = _perceptual(options, encoder, generator.config.resolution)
    config = generator.config
    write_bundle(
        folder,
        stylegan2_graphs(generator, term, encoder),
        name=options.name or folder.stem,
        family="stylegan2",
        source=Source(
            file=checkpoint.name, format=read.format, sha256=read.sha256, licence=options.licence
        ),
        properties={
            "resolution": config.resolution,
            "num_ws": config.num_ws,
            "w_dim": config.w_dim,
            "z_dim": config.z_dim,
            "perceptual": description,
        },
        constants={
            "w_avg": generator.mapping.w_avg.numpy(),
            "w_mean": mean_w(read.tensors, MEAN_SAMPLES, MEAN_SEED),
        },
        half=options.half,
        overwrite=options.overwrite,
        progress=progress,
    )
    return read.notes


def generator_from_checkpoint(read: Stylegan2Checkpoint) -> Generator:
    """Build the generator that the tensors describe, ready for export."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in read.tensors.items()}
    if "mapping.w_avg" not in tensors:
        tensors["mapping.w_avg"] = torch.from_numpy(mean_w(read.tensors, MEAN_SAMPLES, MEAN_SEED))
    generator = Generator(config_from_tensors(tensors, read.conv_clamp))
    generator.load_state_dict(tensors, strict=False)
    generator.drop_silent_noise()
    return generator.eval().requires_grad_(False)


def _perceptual(options: Options, encoder: Encoder | None, size: int) -> tuple[Perceptual, str]:
    if options.vgg is not None and options.lpips is not None:
        features: nn.Module = vgg16_from_tensors(_tensors(options.vgg))
        heads: list[Tensor] = heads_from_tensors(_tensors(options.lpips))
        return Perceptual(features, heads), "LPIPS 0.1, VGG-16"
    if (options.vgg is None) != (options.lpips is None):
        raise InputError(
            "LPIPS needs both the VGG-16 weights and the heads",
            hint="Add --vgg vgg16.pth --lpips vgg.pth, or neither",
        )
    own = encoder or _encoder(OWN_FEATURES)
    return Perceptual(Resized(own.features, size, own.config.resolution)), "face encoder features"


def _encoder(path: Path) -> Encoder:
    tensors = {name: torch.from_numpy(x) for name, x in read_safetensors(path).items()}
    return encoder_from_tensors(tensors).eval().requires_grad_(False)


def _tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    return read_state_dict(path)
