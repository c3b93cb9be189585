"""A CUDA device, over pycuda. It has no call for graphs, so the driver itself captures those.

It works in the device's primary context, the one that TensorRT and other CUDA libraries use.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mien_engines.backends.base import one_line
from mien_engines.device import Bytes, Device, DeviceInfo
from mien_engines.errors import BackendUnavailable

DLPACK_CUDA = 2
THREAD_LOCAL = 1  # a capture forbids unsafe calls to its own thread alone
NON_BLOCKING = 1  # a stream that does not wait for the default stream; only such can be captured
DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
DRIVER_VERSION = Path("/proc/driver/nvidia/version")


@cache
def cuda_device() -> CudaDevice:
    """The first CUDA device. Raises BackendUnavailable, which says what is missing."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise BackendUnavailable(
            f"there is no CUDA device: pycuda cannot be loaded ({one_line(error)})",
            hint="On a machine with an NVIDIA GPU and its driver, type: pip install 'mien[cuda]'",
        ) from error
    try:
        cuda.init()
        return CudaDevice(cuda)
    except Exception as error:  # pycuda's errors have no common base
        raise BackendUnavailable(
            f"there is no CUDA device: {one_line(error)}",
            hint="See whether nvidia-smi lists one",
        ) from error


class CudaDevice(Device):
    """The first GPU.

    Args:
        cuda: the module pycuda.driver, initialised.
    """

    kind = "cuda"

    def __init__(self, cuda: Any) -> None:
        super().__init__()
        self.dlpack = (DLPACK_CUDA, 0)
        self._cuda = cuda
        self._device = cuda.Device(0)
        self._context = self._device.retain_primary_context()
        self._graphs = _Graphs(ctypes.CDLL(DRIVER_LIBRARY))
        # pycuda's objects, by what they are known by here; they give back when they are dropped.
        self._memory: dict[int, Any] = {}
        self._pinned: dict[int, Bytes] = {}
        self._streams: dict[int, Any] = {}
        self._lock = threading.Lock()

    def info(self) -> DeviceInfo:
        major, minor = self._device.compute_capability()
        return DeviceInfo(self._device.name(), f"{major}.{minor}", self._driver())

    def _driver(self) -> str:
        """The driver's own version, else the version of CUDA that it offers."""
        with contextlib.suppress(OSError):
            found = re.search(r"\b(\d{3}\.\d+[.\d]*)\b", DRIVER_VERSION.read_text())
            if found:
                return found.group(1)
        return f"CUDA {self._cuda.get_driver_version()}"

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        self._context.push()  # contexts are current by thread
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def allocate_impl(self, nbytes: int) -> int:
        memory = self._cuda.mem_alloc(nbytes)
        with self._lock:
            self._memory[int(memory)] = memory
        return int(memory)

    def free_impl(self, address: int) -> None:
        with self._lock:
            memory = self._memory.pop(address)
        memory.free()

    def pin_impl(self, nbytes: int) -> Bytes:
        array: Bytes = self._cuda.pagelocked_empty(nbytes, np.uint8)
        with self._lock:
            self._pinned[array.ctypes.data] = array
        return array

    def unpin_impl(self, array: Bytes) -> None:
        with self._lock:
            kept = self._pinned.pop(array.ctypes.data)
        allocation: Any = kept.base
        allocation.free()

    def open_stream_impl(self) -> int:
        stream = self._cuda.Stream(NON_BLOCKING)
        with self._lock:
            self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def close_stream_impl(self, stream: int) -> None:
        with self._lock:
            del self._streams[stream]

    def upload_impl(self, address: int, array: Bytes, stream: int) -> None:
        self._cuda.memcpy_htod_async(address, array, self._streams[stream])

    def download_impl(self, array: Bytes, address: int, stream: int) -> None:
        self._cuda.memcpy_dtoh_async(array, address, self._streams[stream])

    def copy_impl(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._cuda.memcpy_dtod_async(target, source, nbytes, self._streams[stream])

    def synchronize_impl(self, stream: int) -> None:
        self._streams[stream].synchronize()

    def wait_impl(self) -> None:
        self._cuda.Context.synchronize()

    def begin_capture_impl(self, stream: int) -> None:
        self._graphs.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), THREAD_LOCAL)

    def end_capture_impl(self, stream: int) -> Any:
        return self._graphs.instantiate(stream)

    def launch_impl(self, graph: Any, stream: int) -> None:
        self._graphs.call("cuGraphLaunch", graph, ctypes.c_void_p(stream))

    def free_graph_impl(self, graph: Any) -> None:
        self._graphs.call("cuGraphExecDestroy", graph)


class _Graphs:
    """The driver's functions of graphs. Each returns a number, which is 0 or an error."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            name = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(name))
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            said = (text.value or b"").decode()
            raise RuntimeError(f"{function} failed: {(name.value or b'').decode()} {said}")

    def instantiate(self, stream: int) -> ctypes.c_void_p:
        """End a capture, and make what it recorded ready to be launched."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self.call(
                "cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0)
            )
        finally:
            self.call("cuGraphDestroy", graph)
        return ready
