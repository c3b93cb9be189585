"""Tensors as files hold them: storages, and views into them, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import CorruptFile, LimitExceeded

F32 = NDArray[np.float32]

# torch's name of a storage type -> the bytes of an element. BFloat16 is widened when it is read.
DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
MAX_DIMENSIONS, MAX_SIZE = 8, 2**31


@dataclass(frozen=True)
class Storage:
    """A run of elements; `read` fetches its bytes when they are wanted."""

    kind: str
    count: int
    read: Callable[[], bytes | memoryview]

    @property
    def itemsize(self) -> int:
        return 2 if DTYPES[self.kind] == "bf16" else np.dtype(DTYPES[self.kind]).itemsize

    def array(self) -> NDArray[Any]:
        """Return the elements. Raises CorruptFile where there are fewer than promised."""
        data = self.read()
        if len(data) < self.count * self.itemsize:
            raise CorruptFile(
                f"a tensor's data end after {len(data)} of {self.count * self.itemsize} bytes",
                hint="Copy or download the file again",
            )
        if DTYPES[self.kind] == "bf16":
            halves = np.frombuffer(data, "<u2", self.count)
            return (halves.astype(np.uint32) << 16).view(np.float32)
        return np.frombuffer(data, DTYPES[self.kind], self.count)


@dataclass(frozen=True)
class TensorView:
    """A tensor: a view into a storage, not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """Return the elements as a contiguous array of the storage's dtype."""
        base = self.storage.array()
        strides = tuple(s * base.itemsize for s in self.strides)
        view = np.lib.stride_tricks.as_strided(
            base[self.offset :], self.shape, strides, writeable=False
        )
        return view.copy()


def tensor_view(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorView:
    """Check a tensor's geometry against its storage. Raises CorruptFile, LimitExceeded."""
    if not isinstance(storage, Storage):
        raise CorruptFile("a tensor has no storage")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise CorruptFile(f"a tensor has shape {shape} and strides {strides}")
    if len(shape) > MAX_DIMENSIONS or any(n >= MAX_SIZE for n in shape):
        raise LimitExceeded(f"a tensor has shape {shape}")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if prod(shape) and last >= storage.count:
        raise CorruptFile(f"a tensor of shape {shape} reaches beyond its {storage.count} elements")
    if prod(shape) > storage.count:
        raise LimitExceeded(f"a tensor of shape {shape} repeats its {storage.count} elements")
    return TensorView(storage, offset, tuple(shape), tuple(strides))
