"""Arrays on a device, handed in and out without a copy through the host and without torch.

Two protocols, which torch, CuPy, Numba, JAX and others speak: DLPack (version 0.8 of its C
structures, which every consumer takes) and `__cuda_array_interface__` (version 3).
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_engines.device import Device, Memory, Pinned, Stream
from mien_engines.errors import InputError

UNUSED, USED = b"dltensor", b"used_dltensor"  # names of a capsule
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}  # of DLPack, by NumPy's kinds
KINDS = {code: kind for kind, code in CODES.items()}


class DLTensor(ctypes.Structure):
    """dlpack.h, struct DLTensor; device and data type are written out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    """dlpack.h, struct DLManagedTensor."""


Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(DLManagedTensor))
DLManagedTensor._fields_ = (
    ("tensor", DLTensor),
    ("context", ctypes.c_void_p),
    ("deleter", Deleter),
)

_python = ctypes.pythonapi
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_python.PyCapsule_IsValid.restype = ctypes.c_int
_python.PyCapsule_IsValid.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_python.PyCapsule_SetName.restype = ctypes.c_int
_python.PyCapsule_SetName.argtypes = (ctypes.c_void_p, ctypes.c_char_p)

# What consumers still read: the structures and the arrays that they point into.
_lent: dict[int, tuple[Any, ...]] = {}
_tickets = itertools.count(1)


@Deleter  # type: ignore[untyped-decorator, unused-ignore]
def _returned(managed: Any) -> None:
    """Called by whoever consumed a capsule, when they are done with it."""
    _lent.pop(managed.contents.context, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator, unused-ignore]
def _dropped(capsule: int) -> None:
    """Called when a capsule goes; one that nobody consumed still owns its structure."""
    if _python.PyCapsule_IsValid(capsule, UNUSED):
        pointer = _python.PyCapsule_GetPointer(capsule, UNUSED)
        _returned(ctypes.cast(pointer, ctypes.POINTER(DLManagedTensor)))


class DeviceArray:
    """An array on a device, C-contiguous and whole: all work that makes it has ended.

    `torch.from_dlpack(array)`, `cupy.asarray(array)` and their like share its memory; it is given
    back when the last of them and this are gone. numpy(): a copy on the host.
    """

    def __init__(self, memory: Memory, shape: tuple[int, ...], dtype: Any) -> None:
        self.device = memory.device
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._memory = memory
        self._end = weakref.finalize(self, memory.free)
        self._end.atexit = False  # the driver takes everything back then

    @property
    def address(self) -> int:
        return self._memory.address

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    def numpy(self) -> NDArray[Any]:
        """A copy on the host."""
        stream, host = self.device.stream(), self.device.pinned(self.shape, self.dtype)
        try:
            stream.download(host, self._memory)
            stream.synchronize()
            return host.array.copy()
        finally:
            stream.close()
            host.free()

    def fill(self, stream: Stream, host: Pinned) -> None:
        """Set its content, and wait until that is done."""
        stream.upload(self._memory, host)
        stream.synchronize()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device.kind != "cuda":
            raise AttributeError("this array is not on a CUDA device")
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": None,  # nothing is under way
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device.dlpack

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule. All work has ended, so that any stream may use it."""
        if copy or dl_device not in (None, self.device.dlpack):
            raise BufferError("a device array is handed out as it is: no copy, no other device")
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        ticket = next(_tickets)
        managed = DLManagedTensor(
            DLTensor(
                data=self.address,
                device_type=self.device.dlpack[0],
                device_id=self.device.dlpack[1],
                ndim=len(self.shape),
                code=CODES[self.dtype.kind],
                bits=8 * self.dtype.itemsize,
                lanes=1,
                shape=shape,
                strides=None,
                byte_offset=0,
            ),
            ticket,
            _returned,
        )
        _lent[ticket] = (managed, shape, self)
        return _python.PyCapsule_New(ctypes.addressof(managed), UNUSED, _dropped)

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype} {list(self.shape)} on {self.device.kind}>"


@dataclass
class Borrowed:
    """Someone else's array on a device, until `release`."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    release: Callable[[], None]


def is_on_device(value: Any) -> bool:
    """Whether a value speaks one of the protocols and is no NumPy array."""
    if isinstance(value, np.ndarray):
        return False
    return hasattr(value, "__cuda_array_interface__") or hasattr(value, "__dlpack__")


def shape_on_device(value: Any) -> tuple[int, ...]:
    """The shape of what `is_on_device`."""
    if hasattr(value, "shape"):
        return tuple(int(size) for size in value.shape)
    return tuple(value.__cuda_array_interface__["shape"])


def borrow(name: str, value: Any, device: Device, stream: int) -> Borrowed:
    """Take an array of another library as it lies on the device.

    name: for messages. stream: where it will be used; its maker lets that wait for it.

    Raises InputError: it is on another device, of another layout, or of a type without a NumPy one.
    """
    if isinstance(value, DeviceArray) and value.device is device:
        return Borrowed(value.address, value.shape, value.dtype, lambda: None)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(name, value, device, stream)
    return _from_interface(name, value, device)


def _from_dlpack(name: str, value: Any, device: Device, stream: int) -> Borrowed:
    where = tuple(int(number) for number in value.__dlpack_device__())
    if where != device.dlpack:
        raise InputError(
            f"input {name} is on DLPack device {where}, the graph runs on {device.dlpack}",
            hint="Move it there, or hand in a NumPy array",
        )
    capsule = value.__dlpack__(stream=stream if device.kind == "cuda" else None)
    pointer = _python.PyCapsule_GetPointer(id(capsule), UNUSED)
    managed = ctypes.cast(pointer, ctypes.POINTER(DLManagedTensor))
    _python.PyCapsule_SetName(id(capsule), USED)
    tensor = managed.contents.tensor

    def release() -> None:
        if managed.contents.deleter:
            managed.contents.deleter(managed)

    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    if tensor.code not in KINDS or tensor.lanes != 1 or not _is_contiguous(shape, strides):
        release()
        raise InputError(
            f"input {name} is not a C-contiguous array of a type that NumPy has",
            hint="Hand in array.contiguous(), in the dtype of the graph",
        )
    kind = KINDS[tensor.code]
    dtype = np.dtype("bool") if kind == "b" else np.dtype(f"{kind}{tensor.bits // 8}")
    return Borrowed((tensor.data or 0) + tensor.byte_offset, shape, dtype, release)


def _from_interface(name: str, value: Any, device: Device) -> Borrowed:
    if device.kind != "cuda":
        raise InputError(f"input {name} is on a CUDA device, the graph runs on {device.kind}")
    record = value.__cuda_array_interface__
    shape, dtype = tuple(record["shape"]), np.dtype(record["typestr"])
    strides = record.get("strides")
    if strides is not None:
        strides = tuple(step // dtype.itemsize for step in strides)
    if not _is_contiguous(shape, strides):
        raise InputError(f"input {name} is not C-contiguous", hint="Make it so before")
    if record.get("stream") is not None:
        device.wait()  # the protocol names a stream that still works on it
    return Borrowed(int(record["data"][0]), shape, dtype, lambda: None)


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """strides: in elements; of a dimension of size 1 they do not matter."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides or ()), strict=False):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True
