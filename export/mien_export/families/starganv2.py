"""StarGAN v2: clovaai's nets_ema.ckpt becomes a bundle; wing.ckpt one of FAN alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien_engines.errors import ArchMismatch, InputError
from mien_export.checkpoints import StarganV2Checkpoint, read_starganv2
from mien_export.checkpoints.faults import naming
from mien_export.content import Content, Extras, Property
from mien_export.families.starganv2_graphs import fan_graphs, starganv2_graphs
from mien_export.nets.fan import SIZE, Fan, fan_from_tensors
from mien_export.nets.starganv2 import Generator, generator_from_tensors, has_skip
from mien_export.nets.starganv2_styles import (
    MappingNetwork,
    StyleEncoder,
    mapping_from_tensors,
    style_encoder_from_tensors,
)

# The style that truncation moves to: the mean of so many, of z drawn with this seed.
MEAN_SAMPLES, MEAN_SEED = 10_000, 42


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs of styles and translation, and those of FAN where the file holds it.

    Raises ModelError, InputError.
    """
    extras.only("domains", family="starganv2")
    read = read_starganv2(checkpoint)
    if read.format == "clovaai-wing":
        extras.only(family="starganv2 of FAN alone")
        with naming(checkpoint):
            fan_alone = _fan(read, SIZE)
        return Content(
            graphs=fan_graphs(fan_alone, SIZE),
            format=read.format,
            sha256=read.sha256,
            properties={"resolution": SIZE},
            notes=("FAN alone: the bundle finds landmarks and draws masks",),
        )
    with naming(checkpoint):
        generator, mapping, encoder = networks_from_checkpoint(read)
        size = generator.config.resolution
        fan = _fan(read, size) if "fan" in read.networks else None
    return Content(
        graphs=starganv2_graphs(generator, mapping, encoder, fan),
        format=read.format,
        sha256=read.sha256,
        properties=_properties(generator, mapping) | _names(extras, len(mapping.unshared)),
        constants={"style_mean": style_mean(mapping)},
        notes=_notes(read, generator),
    )


def networks_from_checkpoint(
    read: StarganV2Checkpoint,
) -> tuple[Generator, MappingNetwork, StyleEncoder]:
    """Build the three networks that the tensors describe, ready for export.

    Raises ArchMismatch.
    """
    tensors = read.networks
    skip = has_skip(tensors["generator"], tensors["style_encoder"])
    generator = generator_from_tensors(tensors["generator"], skip=skip)
    mapping = mapping_from_tensors(tensors["mapping_network"])
    encoder = style_encoder_from_tensors(tensors["style_encoder"])
    if len(mapping.unshared) != len(encoder.unshared):
        raise ArchMismatch(
            f"the mapping network has {len(mapping.unshared)} domains, and the style encoder "
            f"{len(encoder.unshared)}",
            hint="Is a part of another checkpoint in the file?",
        )
    widths = {generator.config.style_dim, mapping.style_dim, encoder.style_dim}
    if len(widths) > 1:
        raise ArchMismatch(
            f"the networks have styles of {' and '.join(map(str, sorted(widths)))} numbers, "
            "expected of one size",
            hint="Is a part of another checkpoint in the file?",
        )
    return generator, mapping, encoder


def style_mean(mapping: MappingNetwork) -> NDArray[np.float32]:
    """Return the mean style of each domain [domains, style_dim], of seeded z."""
    z = np.random.RandomState(MEAN_SEED).randn(MEAN_SAMPLES, mapping.latent_dim)
    with torch.no_grad():
        mean: NDArray[np.float32] = mapping(torch.from_numpy(z.astype(np.float32))).mean(0).numpy()
    return mean


def _names(extras: Extras, count: int) -> dict[str, Property]:
    """The names that were given to the domains. Raises InputError where their number differs."""
    if extras.domains is None:
        return {}
    names = [name.strip() for name in extras.domains.split(",")]
    if len(set(names) - {""}) != count:
        raise InputError(
            f"--domains {extras.domains!r} has no {count} different names, one for each domain",
            hint="Type them with commas, in the checkpoint's order: female,male",
        )
    return {"domain_names": list[int | float | str](names)}


def _properties(generator: Generator, mapping: MappingNetwork) -> dict[str, Property]:
    return {
        "resolution": generator.config.resolution,
        "style_dim": generator.config.style_dim,
        "latent_dim": mapping.latent_dim,
        "domains": len(mapping.unshared),
        "w_hpf": 0.0 if generator.hpf is None else generator.hpf.weight,
    }


def _notes(read: StarganV2Checkpoint, generator: Generator) -> tuple[str, ...]:
    if generator.hpf is None:
        return ()
    notes = []
    if "hpf.filter" not in read.networks["generator"]:
        notes.append("no high-pass filter in the file: that of w_hpf 1 is built in")
    if "fan" not in read.networks:
        notes.append("no FAN in the file: the masks of a translation must come from elsewhere")
    return tuple(notes)


def _fan(read: StarganV2Checkpoint, size: int) -> Fan:
    return fan_from_tensors(read.networks["fan"], size)
