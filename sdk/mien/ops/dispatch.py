"""What the operations share: finding the compiled twins, and checking arrays before either runs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, MissingDependency
from mien_engines.machine import available_cores

Impl = Literal["auto", "ref", "native"]

BUILD = "Build them: make ext, or MIEN_EXT=true pip install ."


@cache
def load() -> ModuleType | str:
    """Return the compiled module, or why there is none."""
    try:
        return importlib.import_module("mien._ext")
    except ModuleNotFoundError:
        return "not built"
    except ImportError as error:
        return f"built, but they do not load: {error}"


def state() -> str:
    """Return who runs the operations on this machine, for people."""
    found = load()
    if isinstance(found, str):
        return f"{found}; NumPy does their work, slower, with equal results. {BUILD}"
    return str(found.isas()[0])


def native(impl: Impl) -> ModuleType | None:
    """Return the compiled module where it is to be used.

    Raises InputError for another `impl`, MissingDependency for "native" where it is not built.
    """
    if impl not in ("auto", "ref", "native"):
        raise InputError(f"impl is {impl!r}, expected auto, ref or native")
    if impl == "ref":
        return None
    found = load()
    if isinstance(found, ModuleType):
        return found
    if impl == "native":
        raise MissingDependency(f"the compiled kernels are {found}", hint=BUILD)
    return None


def threads_from(threads: int | None) -> int:
    """Return how many threads a call may use; None means one for each physical core."""
    if threads is None:
        return _cores()
    if threads < 1:
        raise InputError(f"threads is {threads}, expected 1 or more")
    return threads


@cache
def _cores() -> int:
    return available_cores()


def check(
    name: str,
    array: object,
    dtypes: tuple[type[np.generic], ...],
    shape: tuple[int | str, ...],  # a letter stands for any size
) -> NDArray[Any]:
    """Return array if it has one of the dtypes, the shape, and lies in memory without gaps.

    Raises InputError. Nothing is converted: a copy that nobody asked for would cost more than the
    operation.
    """
    if not isinstance(array, np.ndarray) or array.dtype.type not in dtypes:
        found = getattr(array, "dtype", type(array).__name__)
        names = " or ".join(dtype.__name__ for dtype in dtypes)
        raise InputError(f"{name} is {found}, expected {names}", hint="Convert it with astype")
    fits = array.ndim == len(shape) and all(
        wanted.__class__ is str or wanted == size
        for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits or not array.size:
        wanted = ", ".join(str(size) for size in shape)
        raise InputError(f"{name} has shape {array.shape}, expected ({wanted})")
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        raise InputError(
            f"{name} does not lie in memory in one piece and order",
            hint="Pass np.ascontiguousarray of it",
        )
    return array


def result(
    out: NDArray[Any] | None,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    inputs: Sequence[NDArray[Any] | None],
    *,
    in_place: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return out, checked, or a new array where it is None.

    in_place: the one input that out may be, exactly. Raises InputError where out shares memory with
    an input otherwise, or cannot be written.
    """
    if out is None:
        return np.empty(shape, dtype)
    out = check("out", out, (dtype,), shape)
    if not out.flags.writeable:
        raise InputError("out cannot be written to")
    for array in inputs:
        if array is None or (array is in_place and _is_same(array, out)):
            continue
        if np.may_share_memory(array, out):
            raise InputError("out shares memory with an input", hint="Pass an array of its own")
    return out


def _is_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.ctypes.data == b.ctypes.data and a.nbytes == b.nbytes
