"""StarGAN v2 and FAN, small enough to export in seconds, as clovaai writes their file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.golden import seeded
from torch import Tensor, nn

from mien_export.nets import fan as fan_module
from mien_export.nets.fan import Fan
from mien_export.nets.starganv2 import Config, Generator
from mien_export.nets.starganv2_styles import MappingNetwork, StyleEncoder

Checkpoint = dict[str, Any]

DOMAINS, LATENT, STYLE = 3, 6, 10
# Small networks: 64 px with the skip, one feature of 32 px in it, and FAN; 32 px without.
SKIP = Config((6, 8, 8, 10, 10, 10), STYLE, True)
PLAIN = Config((6, 10, 10, 10), STYLE, False)
GRAPHS = {
    "skip": (
        "style_latent",
        "style_reference",
        "translate",
        "heatmaps",
        "landmarks",
        "translate_frame",
        "translate_reference",
    ),
    "plain": ("style_latent", "style_reference", "translate", "translate_reference"),
}


def laplacian(w_hpf: float = 1.0) -> Tensor:
    kernel = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    return kernel / w_hpf


def drawn(net: nn.Module, init: str = "he") -> dict[str, Tensor]:
    """Weights for a network that build up neither to infinity nor to nothing."""
    return {
        name: torch.from_numpy(np.array(seeded.tensor(f"tiny.{name}", tuple(x.shape), init)))
        for name, x in net.state_dict().items()
    }


def tiny_checkpoint(config: Config) -> Checkpoint:
    """A file as clovaai writes it: with the decoder's shortcuts, even where they are not used."""
    generator = drawn(Generator(config))
    shortcuts = drawn(Generator(Config(config.widths, STYLE, False)))
    generator |= {key: x for key, x in shortcuts.items() if "conv1x1" in key}
    halvings = len(config.widths) - 1 - config.skip
    widths = [6, *(8 for _ in range(halvings))]
    checkpoint: Checkpoint = {
        "generator": generator,
        "mapping_network": drawn(MappingNetwork([LATENT, 12, 12], [12, 12, STYLE], DOMAINS)),
        "style_encoder": drawn(StyleEncoder(widths, STYLE, DOMAINS)),
    }
    if config.skip:
        generator["hpf.filter"] = laplacian()
        checkpoint["fan"] = drawn(Fan(fan_module.Config((8, 8, 8, 16), 1), 256), "he*0.7")
    return checkpoint
