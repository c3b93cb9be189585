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
    sizes: dict[str, int] = {}
    checked = {
        tensor.name: check_array(spec.name, tensor, feeds[tensor.name], sizes)
        for tensor in check_names(spec, feeds)
    }
    return checked, sizes


def check_names(spec: GraphSpec, feeds: Mapping[str, Any]) -> Sequence[TensorSpec]:
    """The inputs of a graph. Raises InputError where one is missing, or one fed is none of them."""
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    for name in feeds:
        if name not in tensors:
            raise unknown_input(spec.name, name, tensors)
    for name, tensor in tensors.items():
        if name not in feeds:
            raise InputError(f"graph {spec.name}: input {name} {_shape(tensor)} is missing")
    return spec.inputs


def resolve(shape: Sequence[int | str], sizes: Mapping[str, int]) -> list[int]:
    """A shape with its names replaced by sizes."""
    return [sizes[size] if isinstance(size, str) else size for size in shape]


def check_array(graph: str, tensor: TensorSpec, value: Array, sizes: dict[str, int]) -> Array:
    """The value, contiguous. Its named sizes must be those in `sizes`, or are added to them."""
    array = np.asarray(value, order="C")
    check_dtype(graph, tensor, array.dtype)
    check_shape(graph, tensor, array.shape, sizes)
    return array


def check_dtype(graph: str, tensor: TensorSpec, dtype: np.dtype[Any]) -> None:
    """Raise InputError where the dtype is not the tensor's."""
    if dtype != np.dtype(tensor.dtype):
        raise InputError(
            f"graph {graph}: input {tensor.name} has dtype {dtype}, expected {tensor.dtype}",
            hint=f"Convert it: array.astype('{tensor.dtype}')",
        )


def check_shape(
    graph: str, tensor: TensorSpec, shape: tuple[int, ...], sizes: dict[str, int]
) -> None:
    """Raise InputError where the shape is not the tensor's; named sizes are held in `sizes`."""
    fits = len(shape) == len(tensor.shape)
    for found, size in zip(shape, tensor.shape, strict=False):
        expected = sizes.setdefault(size, found) if isinstance(size, str) else size
        fits = fits and found == expected
    if not fits or 0 in shape:
        bound = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        raise InputError(
            f"graph {graph}: input {tensor.name} has shape {shape}, expected {_shape(tensor)}"
            + (f" with {bound}" if bound else "")
        )


def unknown_input(graph: str, name: str, tensors: Mapping[str, TensorSpec]) -> InputError:
    known = ", ".join(tensors)
    return InputError(f"graph {graph} has no input {name!r}", hint=f"It has: {known}")


def _shape(tensor: TensorSpec) -> str:
    return f"({', '.join(str(size) for size in tensor.shape)})"
