"""The tensors a network must have, against those a file holds."""

from __future__ import annotations

from collections.abc import Mapping

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed
from mien_export.checkpoints.tensors import F32

Shapes = dict[str, tuple[int, ...]]


def check_shapes(tensors: Mapping[str, F32], expected: Shapes, file: str, network: str) -> None:
    """Compare every tensor with what the network has. Raises ArchMismatch.

    network: what it is called, with its article: "a StyleGAN1".
    """
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ArchMismatch(
            f"{file} lacks {len(missing)} of {len(expected)} tensors of {network}: "
            f"{listed(missing)}",
            hint="Is it another network, or another size than its neighbours say?",
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ArchMismatch(
                f"{file}: {name} has shape {tensors[name].shape}, expected {shape}",
                hint="Is it another network, or damaged?",
            )
    unknown = [name for name in tensors if name not in expected]
    if unknown:
        raise ArchMismatch(
            f"{file} has tensors that {network} has no place for, {len(unknown)} in all: "
            f"{listed(unknown)}",
            hint="It would not compute the same without them",
        )
