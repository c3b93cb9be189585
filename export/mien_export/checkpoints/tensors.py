"""Tensors as files hold them: storages, and views into them, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import CorruptFile, LimitExceeded, NonFiniteWeights
from mien_export.checkpoints.faults import shown, sized

F32 = NDArray[np.float32]
Reader = Callable[[], bytes | memoryview]

BFLOAT16 = "bf16"  # unknown to NumPy; widened when it is read
# torch's name of a storage type -> its elements.
DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
MAX_DIMENSIONS, MAX_SIZE = 8, 2**31
COUNTER = ".num_batches_tracked"  # of a BatchNorm's training; nothing computed depends on it
MAX_ALIASES = 8  # views a storage's elements may be in; tied weights are in two


Tensor = TypeVar("Tensor")


def itemsize(dtype: str) -> int:
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def elements(data: bytes | memoryview, dtype: str, count: int) -> NDArray[Any]:
    """Read count elements. Raises CorruptFile where there are fewer."""
    if len(data) < count * itemsize(dtype):
        raise CorruptFile(
            f"a tensor's data end after {len(data)} of {count * itemsize(dtype)} bytes",
            hint="Copy or download the file again",
        )
    if dtype == BFLOAT16:
        halves = np.frombuffer(data, "<u2", count)
        return (halves.astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype, count)


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of elements; `read` fetches its bytes when they are wanted."""

    kind: str
    count: int
    read: Reader

    @property
    def itemsize(self) -> int:
        return itemsize(DTYPES[self.kind])

    def array(self) -> NDArray[Any]:
        return elements(self.read(), DTYPES[self.kind], self.count)


@dataclass(frozen=True, eq=False)
class TensorView:
    """A tensor's place in a storage. Its geometry is checked, its data are not read yet."""

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
    if not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides)):
        raise CorruptFile(
            f"a tensor has offset {shown(offset)}, shape {sized(shape)} and strides "
            f"{sized(strides)}"
        )
    if len(shape) != len(strides):
        raise CorruptFile(f"a tensor has shape {sized(shape)} and strides {sized(strides)}")
    if len(shape) > MAX_DIMENSIONS or any(n >= MAX_SIZE for n in shape):
        raise LimitExceeded(f"a tensor has shape {sized(shape)}")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if prod(shape) and last >= storage.count:
        raise CorruptFile(
            f"a tensor of shape {sized(shape)} reaches beyond its {storage.count} elements"
        )
    if prod(shape) > storage.count:
        raise LimitExceeded(
            f"a tensor of shape {sized(shape)} repeats its {storage.count} elements"
        )
    return TensorView(storage, offset, tuple(shape), tuple(strides))


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and all(
        type(n) is int and 0 <= n and n.bit_length() < 64 for n in values
    )


def tensor_views(content: Any) -> dict[str, TensorView]:
    """Return the tensors of a dict by name; what is no tensor is left out."""
    items = content.items() if isinstance(content, dict) else ()
    return {k: v for k, v in items if isinstance(k, str) and isinstance(v, TensorView)}


def without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out how many batches each BatchNorm was trained on."""
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}


def arrays(views: dict[str, TensorView]) -> dict[str, F32]:
    """Read tensors as float32. Raises CorruptFile, LimitExceeded, NonFiniteWeights."""
    wanted = sum(prod(view.shape) for view in views.values())
    stored = sum({id(v.storage): v.storage.count for v in views.values()}.values())
    if wanted > MAX_ALIASES * stored:
        raise LimitExceeded(f"tensors of {wanted:,} elements share {stored:,} stored ones")
    return {name: finite(name, view.array()) for name, view in views.items()}


def finite(name: str, value: NDArray[Any]) -> F32:
    """Return value as float32. Raises NonFiniteWeights, also where float32 overflows."""
    with np.errstate(over="ignore"):
        array: F32 = value.astype(np.float32)
    if not np.isfinite(array).all():
        raise NonFiniteWeights(
            f"tensor {shown(name)} holds NaN or infinity",
            hint="The checkpoint is damaged or diverged in training; use another",
        )
    return array
