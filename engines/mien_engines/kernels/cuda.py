"""CUDA's driver, as far as launching goes: modules, functions, launches, by ctypes.

pycuda launches neither clusters nor on streams that others made (TensorRT's, torch's), so the calls
that launch are the driver's own. They work in whatever context is current for the thread: that of
`mien_engines.device`, pycuda, torch or CuPy.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from mien_engines.errors import BackendUnavailable, RunError
from mien_engines.kernels import compiled, sources
from mien_engines.kernels.launch import Card, Launch

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR, MULTIPROCESSORS, L2, BLOCK_SHARED = 75, 76, 16, 38, 97  # CUdevice_attribute
MAX_DYNAMIC_SHARED = 8  # CUfunction_attribute
CLUSTER = 4  # CUlaunchAttributeID
EVERY_BLOCK_HAS = 48 * 1024  # bytes of dynamic shared memory; more must be asked for


class Attribute(ctypes.Structure):
    """CUlaunchAttribute, of a cluster's size."""

    _fields_ = (
        ("id", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("size", ctypes.c_uint * 3),
        ("rest", ctypes.c_char * 52),  # of a union of 64 bytes
    )


class Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    )


class Space:
    """A piece of device memory."""

    def __init__(self, driver: Driver, nbytes: int) -> None:
        address = ctypes.c_uint64()
        driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(nbytes))
        self.address, self.nbytes = address.value, nbytes


class Driver:
    """Runs launches in the context that is current for the calling thread.

    Any number of threads may use it. Workspaces and modules stay until the program ends, because a
    captured graph may hold their addresses; a workspace at least doubles when it grows.

    Args:
        library: that of the driver, initialised.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._modules: dict[tuple[int, str], ctypes.c_void_p] = {}  # by context and file
        self._functions: dict[tuple[int, str], ctypes.c_void_p] = {}  # by context and kernel
        self._spaces: dict[tuple[int, int], list[Space]] = {}
        self.card = self._card()

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver. Raises RunError, which names what it says."""
        if code := getattr(self._library, name)(*arguments):
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            said = text.value.decode() if text.value else f"error {code}"
            raise RunError(f"{name}: the CUDA driver says {said}")

    def run(self, launches: Sequence[Launch], stream: int) -> None:
        """Queue them on a stream, one after another. Raises RunError."""
        for launch in launches:
            values = (ctypes.c_void_p * len(launch.arguments))(
                *(ctypes.addressof(argument) for argument in launch.arguments)
            )
            function = self._function(launch.kernel)
            config = config_from(launch, stream)
            self.call("cuLaunchKernelEx", ctypes.byref(config), function, values, None)

    def workspace(self, nbytes: int, stream: int) -> Space:
        """Memory of the stream's own, which its next call uses again. Raises RunError."""
        with self._lock:
            spaces = self._spaces.setdefault((self._context(), stream), [])
            if not spaces or spaces[-1].nbytes < nbytes:
                spaces.append(Space(self, max(nbytes, 2 * (spaces[-1].nbytes if spaces else 0))))
            return spaces[-1]

    def _function(self, kernel: str) -> ctypes.c_void_p:
        with self._lock:
            context, file = self._context(), sources.file_of(kernel)
            if (context, file) not in self._modules:
                self._modules[context, file] = self._module(file)
            if (context, kernel) not in self._functions:
                module = self._modules[context, file]
                self._functions[context, kernel] = self._entry(module, kernel)
            return self._functions[context, kernel]

    def _module(self, file: str) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        image = ctypes.create_string_buffer(compiled.module(file, self.card.capability))
        self.call("cuModuleLoadData", ctypes.byref(module), image)
        return module

    def _entry(self, module: ctypes.c_void_p, kernel: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, kernel.encode())
        if self.card.block_shared > EVERY_BLOCK_HAS:
            self.call(
                "cuFuncSetAttribute", function, ctypes.c_int(MAX_DYNAMIC_SHARED),
                ctypes.c_int(self.card.block_shared),
            )  # fmt: skip
        return function

    def _context(self) -> int:
        context = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(context))
        if not context.value:
            raise RunError(
                "no CUDA context is current in this thread",
                hint="Call within mien_engines.device's use(), or after torch or pycuda made one",
            )
        return context.value

    def _card(self) -> Card:
        device = ctypes.c_int()
        self._context()
        self.call("cuCtxGetDevice", ctypes.byref(device))

        def attribute(number: int) -> int:
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), device)
            return value.value

        return Card(
            (attribute(MAJOR), attribute(MINOR)), attribute(MULTIPROCESSORS),
            attribute(BLOCK_SHARED), attribute(L2),
        )  # fmt: skip


@cache
def driver() -> Driver:
    """The driver of this machine, for the device whose context is current.

    Raises:
        BackendUnavailable: there is no driver or no GPU, or it is too old for the kernels.
        RunError: no context is current in this thread.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BackendUnavailable(
            "the CUDA kernels need an NVIDIA driver, and this machine has none",
            hint='Use the CPU: impl="native" of mien.ops',
        ) from error
    if code := library.cuInit(0):
        raise BackendUnavailable(
            f"the CUDA driver finds no GPU (error {code})", hint="See whether nvidia-smi lists one"
        )
    return Driver(library)


def config_from(launch: Launch, stream: int) -> Config:
    """A launch as the driver takes it."""
    attribute = Attribute(CLUSTER, 0, (ctypes.c_uint * 3)(launch.cluster, 1, 1))
    return Config(
        (ctypes.c_uint * 3)(*launch.grid), (ctypes.c_uint * 3)(*launch.block), launch.shared,
        stream, ctypes.pointer(attribute), int(launch.cluster > 1),
    )  # fmt: skip
