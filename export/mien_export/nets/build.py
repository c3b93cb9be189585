"""Build a network of the sizes that a checkpoint's tensors have, without copying them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints.faults import listed, sized
from mien_export.checkpoints.shapes import check_shapes
from mien_export.checkpoints.tensors import without_counters

Net = TypeVar("Net", bound=nn.Module)
Arrays = Mapping[str, NDArray[np.float32]]


def build(make: Callable[[], Net], tensors: Arrays, what: str) -> Net:
    """Make a network that holds exactly these tensors, in the same memory, ready for export.

    make: builds the network. Its parameters take no memory before they are the tensors; buffers
        that no file holds must name their device, "cpu".
    tensors: those of `checkpoints`, without counters.
    what: names the network in errors, with its article.

    Raises ArchMismatch where a tensor is missing, has another shape, or has no place.
    """
    with torch.device("meta"):
        net = make()
    # Counters are not in `tensors`; nn.BatchNorm2d starts one at 0 when it loads none.
    expected = {name: tuple(x.shape) for name, x in without_counters(net.state_dict()).items()}
    check_shapes(dict(tensors), expected, "the file", what)
    net.load_state_dict({name: torch.from_numpy(x) for name, x in tensors.items()}, assign=True)
    return net.eval().requires_grad_(False)


def shape_of(tensors: Arrays, name: str, rank: int, what: str) -> tuple[int, ...]:
    """Return the shape of a tensor that tells a size of `what`. Raises ArchMismatch."""
    if name not in tensors:
        raise ArchMismatch(
            f"the file has no {name}, which {what} has; it holds {listed(tensors)}",
            hint="Is it another network?",
        )
    shape = tensors[name].shape
    if len(shape) != rank or 0 in shape:
        raise ArchMismatch(
            f"{name} has shape {sized(shape)}, expected {rank} dimensions in {what}",
            hint="Is it another network, or damaged?",
        )
    return shape


def length_of(tensors: Arrays, part: str) -> int:
    """Count the modules `part.0`, `part.1`, ... up to the first of which there is nothing."""
    depth = part.count(".") + 1
    numbers = {name.split(".")[depth] for name in tensors if name.startswith(f"{part}.")}
    return next(i for i in count() if str(i) not in numbers)
