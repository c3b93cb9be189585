"""Recognition networks of the ArcFace kind: which one a state dict is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed
from mien_export.checkpoints.state_dict import read_weights
from mien_export.checkpoints.tensors import F32, without_counters

Network = Literal["iresnet", "ir", "mobilefacenet"]

# A tensor of each network's first unit, which no other has.
TELLS: dict[str, Network] = {
    "layer1.0.prelu.weight": "iresnet",
    "body.0.res_layer.1.weight": "ir",
    "dw_conv.depthwise.weight": "mobilefacenet",
}


@dataclass(frozen=True, eq=False)
class ArcfaceCheckpoint:
    """A recognition network's tensors, float32, without counters."""

    tensors: dict[str, F32]
    network: Network
    sha256: str


def read_arcface(path: Path) -> ArcfaceCheckpoint:
    """Read insightface's iresnet, TreB1eN's IR(-SE) or foamliu's MobileFaceNet.

    Raises InputError, ModelError; ArchMismatch where it is none of the three.
    """
    read = read_weights(path)
    tensors = without_counters(read.tensors)
    if any(name.startswith("encoder.") for name in tensors):
        raise ArchMismatch(
            f"{path.name} holds a pSp or e4e encoder, expected a recognition network",
            hint="Export it with the family encoder",
        )
    found = [network for tell, network in TELLS.items() if tell in tensors]
    if len(found) != 1:
        raise ArchMismatch(
            f"{path.name} is no recognition network that is known; it holds {listed(tensors)}",
            hint=f"Expected a state dict with one of {', '.join(TELLS)}",
        )
    return ArcfaceCheckpoint(tensors, found[0], read.sha256)
