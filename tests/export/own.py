"""Networks of systems 0 and 4, small enough to export in seconds."""

from __future__ import annotations

import torch
from torch import Tensor

from mien_export.nets.lookalike import Lookalike, LookalikeConfig
from mien_export.nets.vaegan import VaeGan, VaeGanConfig

WIDTHS = (6, 8, 10)
VAE = VaeGanConfig(resolution=32, latent=12, widths=WIDTHS, merge_layers=2)
LOOK = LookalikeConfig(resolution=32, identity=7, control=3, widths=WIDTHS)


def randomised(net: torch.nn.Module) -> dict[str, Tensor]:
    """Random values for every tensor, those of the normalisations too; variances positive."""
    random = torch.Generator().manual_seed(3)
    state = {}
    for name, x in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        value = (
            torch.randn(x.shape, generator=random) / max(1, x[0].numel() if x.dim() else 1) ** 0.5
        )
        state[name] = value.abs() + 0.5 if name.endswith("running_var") else value
    return state


def states() -> dict[str, dict[str, Tensor]]:
    """The tensors of a checkpoint of each family."""
    return {"vaegan": randomised(VaeGan(VAE)), "lookalike": randomised(Lookalike(LOOK))}
