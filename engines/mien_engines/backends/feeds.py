"""What is fed to a graph, held against what its spec says; nothing is cast in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import InputError
from mien_engines.spec import GraphSpec, TensorSpec

Array = NDArray[Any]


def check_feeds(
    spec: GraphSpec, feeds: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, int]]:
    """The feeds, contiguous and in the order of the spec, and the size of each named dimension."""
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    for name in feeds:
        if name not in tensors:
            raise unknown_input(spec.name, name, tensors)
    sizes: dict[str, int] = {}
    checked = {}
    for name, tensor in tensors.items():
        if name not in feeds:
            raise InputError(f"graph {spec.name}: input {name} {_shape(tensor)} is missing")
        checked[name] = check_array(spec.name, tensor, feeds[name], sizes)
    return checked, sizes


def resolve(shape: Sequence[int | str], sizes: Mapping[str, int]) -> list[int]:
    """A shape with its names replaced by sizes."""
    return [sizes[size] if isinstance(size, str) else size for size in shape]


def check_array(graph: str, tensor: TensorSpec, value: Array, sizes: dict[str, int]) -> Array:
    """The value, contiguous. Its named sizes must be those in `sizes`, or are added to them."""
    array = np.asarray(value, order="C")
    where = f"graph {graph}: input {tensor.name}"
    if array.dtype != np.dtype(tensor.dtype):
        raise InputError(
            f"{where} has dtype {array.dtype}, expected {tensor.dtype}",
            hint=f"Convert it: array.astype('{tensor.dtype}')",
        )
    fits = len(array.shape) == len(tensor.shape)
    for found, size in zip(array.shape, tensor.shape, strict=False):
        expected = sizes.setdefault(size, found) if isinstance(size, str) else size
        fits = fits and found == expected
    if not fits or 0 in array.shape:
        bound = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        raise InputError(
            f"{where} has shape {array.shape}, expected {_shape(tensor)}"
            + (f" with {bound}" if bound else "")
        )
    return array


def unknown_input(graph: str, name: str, tensors: Mapping[str, TensorSpec]) -> InputError:
    known = ", ".join(tensors)
    return InputError(f"graph {graph} has no input {name!r}", hint=f"It has: {known}")


def _shape(tensor: TensorSpec) -> str:
    return f"({', '.join(str(size) for size in tensor.shape)})"
