"""Put a checkpoint's tensors into a module, or say by name what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch

LISTED = 4
COUNTER = "num_batches_tracked"  # of a BatchNorm: of no use after training, and often left out


def as_tensors(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """NumPy to torch, by name."""
    return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load tensors into module, each under its own name, in evaluation mode, without gradients.

    what: names the network in errors, such as "a merge network". Raises ArchMismatch.
    """
    expected = {n: x for n, x in module.state_dict().items() if not n.endswith(COUNTER)}
    found = {n: x for n, x in tensors.items() if not n.endswith(COUNTER)}
    if missing := [n for n in expected if n not in found]:
        raise ArchMismatch(
            f"the file lacks {len(missing)} of {len(expected)} tensors of {what}: "
            f"{_first(missing)}",
            hint="Is it another network, or another size than its other tensors say?",
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ArchMismatch(
                f"{name} has shape {tuple(found[name].shape)}, expected {tuple(tensor.shape)} "
                f"in {what}",
                hint="Is it another network, or damaged?",
            )
    if unknown := [n for n in found if n not in expected]:
        raise ArchMismatch(
            f"the file has {len(unknown)} tensors that {what} has no place for: {_first(unknown)}",
            hint="It would not compute the same without them",
        )
    module.load_state_dict(dict(found), strict=False)
    module.eval().requires_grad_(False)


def _first(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
