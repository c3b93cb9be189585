"""Arrays on the GPU, whoever made them: what `__cuda_array_interface__` says, checked.

torch, CuPy, pycuda's GPUArray, Numba and `mien_engines` have it. Nothing is copied or converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from mien_engines.errors import InputError

# bfloat16 has no letter of its own: torch and ml_dtypes write it as two bytes of nothing.
NAMES = {"<f4": "float32", "<f2": "float16", "<V2": "bfloat16", "|u1": "uint8"}
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}
SUFFIXES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
FLOATS = tuple(SUFFIXES)

Shape = tuple[int | str, ...]  # a letter stands for any size


@dataclass(frozen=True)
class Array:
    """Where an array lies. address: of its first number, on the GPU."""

    address: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * SIZES[self.dtype]

    @property
    def suffix(self) -> str:
        """How kernels of this dtype end."""
        return SUFFIXES[self.dtype]

    def overlaps(self, other: Array) -> bool:
        return (
            self.address < other.address + other.nbytes
            and other.address < self.address + self.nbytes
        )

    def is_aligned(self, nbytes: int = 16) -> bool:
        return self.address % nbytes == 0


def check(
    name: str, array: object, dtypes: tuple[str, ...], shape: Shape, *, writable: bool = False
) -> Array:
    """Return where array lies, if it has one of the dtypes, the shape, and no gaps.

    Raises InputError.
    """
    facts = getattr(array, "__cuda_array_interface__", None)
    if facts is None:
        raise InputError(
            f"{name} is {type(array).__name__}, expected an array on the GPU",
            hint="Pass one that has __cuda_array_interface__: of torch, CuPy or pycuda",
        )
    dtype = NAMES.get(facts["typestr"], facts["typestr"])
    if dtype not in dtypes:
        raise InputError(f"{name} is {dtype}, expected {' or '.join(dtypes)}")
    found = tuple(facts["shape"])
    fits = len(found) == len(shape) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(shape, found, strict=True)
    )
    if not fits or not prod(found):
        wanted = ", ".join(map(str, shape))
        raise InputError(f"{name} has shape {found}, expected ({wanted})")
    if not _is_contiguous(found, facts.get("strides"), SIZES[dtype]):
        raise InputError(
            f"{name} does not lie in memory in one piece and order", hint="Pass a contiguous copy"
        )
    address, read_only = facts["data"]
    if writable and read_only:
        raise InputError(f"{name} cannot be written to")
    return Array(address, found, dtype)


def apart(name: str, out: Array, *inputs: Array | None) -> None:
    """Raise InputError where out shares memory with an input."""
    if any(array is not None and out.overlaps(array) for array in inputs):
        raise InputError(f"{name} shares memory with an input", hint="Pass an array of its own")


def _is_contiguous(shape: tuple[int, ...], strides: Any, size: int) -> bool:
    if strides is None:
        return True
    for length, stride in zip(reversed(shape), reversed(tuple(strides)), strict=True):
        if length != 1 and stride != size:
            return False
        size *= length
    return True
