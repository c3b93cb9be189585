"""A GPU as the backends see it: memory, pinned buffers, streams, captured graphs.

What is particular to CUDA is in the `*_impl` methods of `device_cuda`. Here is what holds for any
device: what is given out is given back once, runtime messages become typed errors, nothing is
allocated while a stream is captured, and a device that failed is not asked again.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mien_engines.backends.base import one_line
from mien_engines.errors import DeviceLost, DeviceOutOfMemory, MienError, RunError

Bytes = NDArray[np.uint8]

# Parts of the messages of CUDA, pycuda and TensorRT, in small letters.
OUT_OF_MEMORY = ("out of memory", "out_of_memory", "memory allocation failed", "cannot allocate")
# After these a CUDA context is of no more use: every later call fails, with whatever message.
FATAL = (
    "illegal memory access", "illegal address", "illegal instruction", "unspecified launch failure",
    "device-side assert", "uncorrectable ecc", "misaligned address",
    "launch timed out", "hardware stack error", "invalid program counter", "invalid address space",
    "fallen off the bus", "device is lost", "context is destroyed", "unknown error",
)  # fmt: skip


@dataclass(frozen=True)
class DeviceInfo:
    """What a plan depends on. name: of the product. sm: "9.0". driver: "580.159"."""

    name: str
    sm: str
    driver: str


class Device(ABC):
    """One GPU. Any number of threads may use it; a stream belongs to one thread at a time."""

    kind: ClassVar[str]
    dlpack: tuple[int, int]  # DLPack's numbers of the kind of device, and of the device

    def __init__(self) -> None:
        self.lost = ""  # the message of what broke it
        self._capturing: set[int] = set()  # threads

    @abstractmethod
    def info(self) -> DeviceInfo: ...

    @abstractmethod
    def use(self) -> contextlib.AbstractContextManager[None]:
        """Make the device current for the calling thread."""

    @abstractmethod
    def allocate_impl(self, nbytes: int) -> int: ...

    @abstractmethod
    def free_impl(self, address: int) -> None: ...

    @abstractmethod
    def pin_impl(self, nbytes: int) -> Bytes: ...

    @abstractmethod
    def unpin_impl(self, array: Bytes) -> None: ...

    @abstractmethod
    def open_stream_impl(self) -> int: ...

    @abstractmethod
    def close_stream_impl(self, stream: int) -> None: ...

    @abstractmethod
    def upload_impl(self, address: int, array: Bytes, stream: int) -> None: ...

    @abstractmethod
    def download_impl(self, array: Bytes, address: int, stream: int) -> None: ...

    @abstractmethod
    def copy_impl(self, target: int, source: int, nbytes: int, stream: int) -> None: ...

    @abstractmethod
    def synchronize_impl(self, stream: int) -> None: ...

    @abstractmethod
    def wait_impl(self) -> None: ...

    @abstractmethod
    def begin_capture_impl(self, stream: int) -> None: ...

    @abstractmethod
    def end_capture_impl(self, stream: int) -> Any: ...

    @abstractmethod
    def launch_impl(self, graph: Any, stream: int) -> None: ...

    @abstractmethod
    def free_graph_impl(self, graph: Any) -> None: ...

    def allocate(self, nbytes: int) -> Memory:
        """Device memory. Raises DeviceOutOfMemory."""
        self._refuse_in_capture("device memory")
        with self.checked(f"{nbytes / 1e6:.1f} MB of device memory"):
            return Memory(self, self.allocate_impl(max(nbytes, 1)), nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        """A page-locked host array, which copies to and from the device at full speed."""
        self._refuse_in_capture("pinned memory")
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        with self.checked(f"{nbytes / 1e6:.1f} MB of pinned memory"):
            return Pinned(self, self.pin_impl(max(nbytes, 1)), nbytes, shape, dtype)

    def stream(self) -> Stream:
        """A queue of work of its own."""
        self._refuse_in_capture("a stream")
        with self.checked("a stream"):
            return Stream(self, self.open_stream_impl())

    def wait(self) -> None:
        """Wait for everything on the device, whoever queued it."""
        with self.checked("waiting for the GPU"):
            self.wait_impl()

    @contextlib.contextmanager
    def checked(self, what: str) -> Iterator[None]:
        """Make the device current, and turn what the driver says into an error of ours."""
        if self.lost:
            raise DeviceLost(f"the GPU failed before: {self.lost}", hint="Start the program again")
        try:
            with self.use():
                yield
        except MienError:
            raise
        except Exception as error:  # pycuda has types of its own, TensorRT has RuntimeError
            raise self.fault(what, one_line(error)) from error

    def fault(self, what: str, message: str) -> MienError:
        """The error that a driver's message means; a fatal one is remembered."""
        lower = message.lower()
        if any(part in lower for part in OUT_OF_MEMORY):
            return DeviceOutOfMemory(
                f"{what}: the GPU is out of memory ({message})",
                hint="Use a smaller batch or size, or close other programs that use the GPU",
            )
        if any(part in lower for part in FATAL):
            self.lost = message
            return DeviceLost(f"{what}: the GPU failed: {message}", hint="Start the program again")
        return RunError(f"{what}: {message}")

    @contextlib.contextmanager
    def discarding(self) -> Iterator[None]:
        """For giving back: what a lost device no longer takes is gone with it."""
        try:
            with self.use():
                yield
        except Exception as error:
            if not self.lost:
                raise self.fault("giving back", one_line(error)) from error

    def _refuse_in_capture(self, what: str) -> None:
        assert threading.get_ident() not in self._capturing, f"{what} asked for in a capture"


class Memory:
    """A piece of device memory."""

    def __init__(self, device: Device, address: int, nbytes: int) -> None:
        self.device, self.address, self.nbytes = device, address, nbytes
        self._freed = False

    def free(self) -> None:
        """Give it back; a second time does nothing. Work that uses it must have ended."""
        if not self._freed:
            self._freed = True
            with self.device.discarding():
                self.device.free_impl(self.address)


class Pinned:
    """A page-locked host array. array: of the shape and dtype that were asked for."""

    def __init__(
        self, device: Device, raw: Bytes, nbytes: int, shape: tuple[int, ...], dtype: Any
    ) -> None:
        self.device, self._raw, self._freed = device, raw, False
        self.bytes = raw[:nbytes]
        self.array: NDArray[Any] = self.bytes.view(np.dtype(dtype)).reshape(shape)

    def free(self) -> None:
        """Give it back; a second time does nothing. Copies from and to it must have ended."""
        if not self._freed:
            self._freed = True
            with self.device.discarding():
                self.device.unpin_impl(self._raw)


class Stream:
    """A queue of work. handle: what TensorRT takes."""

    def __init__(self, device: Device, handle: int) -> None:
        self.device, self.handle = device, handle
        self._closed = False

    def upload(self, memory: Memory, source: Pinned) -> None:
        """Queue a copy to the device; source must stay as it is until it was made."""
        with self.device.checked("a copy to the GPU"):
            self.device.upload_impl(memory.address, source.bytes, self.handle)

    def download(self, target: Pinned, memory: Memory) -> None:
        """Queue a copy from the device; target has it after `synchronize`."""
        with self.device.checked("a copy from the GPU"):
            self.device.download_impl(target.bytes, memory.address, self.handle)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy within the device, between addresses."""
        with self.device.checked("a copy on the GPU"):
            self.device.copy_impl(target, source, nbytes, self.handle)

    def synchronize(self) -> None:
        """Wait for all that was queued. Raises what went wrong in it."""
        with self.device.checked("waiting for the GPU"):
            self.device.synchronize_impl(self.handle)

    @contextlib.contextmanager
    def capture(self) -> Iterator[Graph]:
        """Record what is queued in this block, which is not run, into the graph that it yields."""
        device, thread = self.device, threading.get_ident()
        graph = Graph(device)
        with device.checked("a capture"):
            device.begin_capture_impl(self.handle)
            device._capturing.add(thread)
            try:
                yield graph
            except BaseException:
                # A stream that stays in capture takes no other work. The first error counts.
                with contextlib.suppress(Exception):
                    device.free_graph_impl(device.end_capture_impl(self.handle))
                raise
            else:
                graph.handle = device.end_capture_impl(self.handle)
            finally:
                device._capturing.discard(thread)

    def launch(self, graph: Graph) -> None:
        """Queue what a graph recorded."""
        with self.device.checked("the replay of a graph"):
            self.device.launch_impl(graph.handle, self.handle)

    def close(self) -> None:
        """Give it back, once all that was queued has ended."""
        if not self._closed:
            self._closed = True
            with self.device.discarding():
                if not self.device.lost:
                    self.device.synchronize_impl(self.handle)
                self.device.close_stream_impl(self.handle)


class Graph:
    """Work that was recorded once, and is replayed by one call."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.handle: Any = None

    def free(self) -> None:
        """Give it back; a second time does nothing."""
        if self.handle is not None:
            handle, self.handle = self.handle, None
            with self.device.discarding():
                self.device.free_graph_impl(handle)
