"""StarGAN v2 checkpoints of clovaai: `nets_ema.ckpt`, and the landmark network's `wing.ckpt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.archive import read_torch
from mien_export.checkpoints.faults import listed, shown, typed_errors
from mien_export.checkpoints.identify import read_file
from mien_export.checkpoints.tensors import (
    F32,
    TensorView,
    arrays,
    tensor_views,
    without_counters,
)

Format = Literal["clovaai-nets-ema", "clovaai-wing"]

NETWORKS = ("generator", "mapping_network", "style_encoder")
# Of FAN with a single hourglass. Published files hold those of further ones, which are not used.
FAN_PARTS = {
    *("conv1", "bn1", "conv2", "conv3", "conv4"),
    *("m0", "top_m_0", "conv_last0", "bn_end0", "l0"),
}


@dataclass(frozen=True, eq=False)
class StarganV2Checkpoint:
    """The tensors of each network, float32, without counters, and where they came from.

    Of `generator`, `mapping_network`, `style_encoder` and `fan`, a file has the first three, all
    four, or the last.
    """

    networks: dict[str, dict[str, F32]]
    format: Format
    sha256: str


def read_starganv2(path: Path) -> StarganV2Checkpoint:
    """Read `nets_ema.ckpt`, or FAN alone from `wing.ckpt`, without running the file's code.

    Raises:
        InputError: there is no such file.
        UnsafeFile: the file asks for code to be run. CorruptFile: damaged, or of another kind.
        LimitExceeded: it wants more memory or work than a file of its length honestly can.
        ArchMismatch: another network.
        NonFiniteWeights: NaN or infinity in a tensor.
    """
    with typed_errors(path):
        file = read_file(path)
        if file.kind != "torch":
            raise ArchMismatch(
                f"{file.name} is a {file.kind} file, expected clovaai's nets_ema.ckpt or wing.ckpt",
                hint="Name the checkpoint that torch.save wrote",
            )
        content = read_torch(file.data)
        parts: Mapping[Any, Any] = content if isinstance(content, dict) else {}
        wing = tensor_views(parts.get("state_dict"))
        if "m0.coordconv.conv.weight" in wing:
            return StarganV2Checkpoint({"fan": _fan(wing)}, "clovaai-wing", file.sha256)
        views = {name: tensor_views(parts.get(name)) for name in NETWORKS}
        if missing := [name for name, found in views.items() if not found]:
            raise ArchMismatch(
                f"{file.name} has no {missing[0]}; it holds {listed(parts) or shown(content)}",
                hint="Expected clovaai's StarGAN v2: a dict of " + ", ".join(NETWORKS),
            )
        if "discriminator" in parts:
            raise ArchMismatch(
                f"{file.name} holds the networks in training, with their discriminator, "
                "expected their moving averages",
                hint="Name its neighbour that ends in nets_ema.ckpt",
            )
        networks = {name: arrays(found) for name, found in views.items()}
        if "fan" in parts:
            networks["fan"] = _fan(tensor_views(parts["fan"]))
        return StarganV2Checkpoint(networks, "clovaai-nets-ema", file.sha256)


def _fan(views: Mapping[str, TensorView]) -> dict[str, F32]:
    own = {name: view for name, view in views.items() if name.split(".")[0] in FAN_PARTS}
    return arrays(without_counters(own))
