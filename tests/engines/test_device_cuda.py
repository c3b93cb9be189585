"""The CUDA device over a stand-in for pycuda and the driver: each call in the context, all freed.

The stand-in has the names and the orders of arguments of pycuda.driver. On a machine with a GPU the
last test asks the real ones.
"""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_engines import device_cuda
from mien_engines.device_cuda import CudaDevice, cuda_device
from mien_engines.errors import BackendUnavailable, DeviceOutOfMemory, RunError


class Driver:
    """pycuda.driver. Its memory is the host's, its streams do their work at once."""

    def __init__(self) -> None:
        self.pushed = threading.local()
        self.live: set[str] = set()
        self.full = False
        driver = self

        class Context:
            def push(self) -> None:
                driver.pushed.depth = getattr(driver.pushed, "depth", 0) + 1

            @staticmethod
            def pop() -> None:
                driver.pushed.depth -= 1

            @staticmethod
            def synchronize() -> None:
                driver.check()

        class Allocation:
            def __init__(self, nbytes: int) -> None:
                driver.check()
                if driver.full:
                    raise MemoryError("cuMemAlloc failed: out of memory")
                self.block = np.zeros(nbytes, np.uint8)
                driver.live.add(f"memory {int(self)}")

            def __int__(self) -> int:
                return self.block.ctypes.data

            def free(self) -> None:
                driver.check()
                driver.live.remove(f"memory {int(self)}")

        class HostAllocation:
            """What a page-locked array is a view of."""

            def __init__(self, nbytes: int) -> None:
                self.block = np.zeros(nbytes, np.uint8)
                self.__array_interface__ = self.block.__array_interface__
                driver.live.add(f"pinned {id(self)}")

            def free(self) -> None:
                driver.check()
                driver.live.remove(f"pinned {id(self)}")

        class Stream:
            def __init__(self, flags: int) -> None:
                driver.check()
                assert flags == 1  # of a stream that can be captured
                self.handle = 7
                driver.live.add("stream")

            def __del__(self) -> None:
                driver.live.discard("stream")

            def synchronize(self) -> None:
                driver.check()

        class Device:
            def __init__(self, ordinal: int) -> None:
                assert ordinal == 0

            def retain_primary_context(self) -> Context:
                return Context()

            def name(self) -> str:
                return "Stand-in"

            def compute_capability(self) -> tuple[int, int]:
                return 9, 0

        self.Context, self.Device, self.Stream = Context, Device, Stream
        self.mem_alloc, self.HostAllocation = Allocation, HostAllocation

    def check(self) -> None:
        assert getattr(self.pushed, "depth", 0) == 1, "the context is not current"

    def get_driver_version(self) -> int:
        return 13000

    def pagelocked_empty(self, nbytes: int, dtype: Any) -> NDArray[Any]:
        self.check()
        return np.asarray(self.HostAllocation(nbytes))

    def memcpy_htod_async(self, dest: int, src: NDArray[np.uint8], stream: Any) -> None:
        self.check()
        ctypes.memmove(dest, src.ctypes.data, src.nbytes)

    def memcpy_dtoh_async(self, dest: NDArray[np.uint8], src: int, stream: Any) -> None:
        self.check()
        ctypes.memmove(dest.ctypes.data, src, dest.nbytes)

    def memcpy_dtod_async(self, dest: int, src: int, size: int, stream: Any) -> None:
        self.check()
        ctypes.memmove(dest, src, size)


class Library:
    """libcuda: functions of graphs that note their calls; one may fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing = ""

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            if name == "cuGetErrorName":
                arguments[1]._obj.value = b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
                return 0
            if name == "cuGetErrorString":
                arguments[1]._obj.value = b"operation not permitted when stream is capturing"
                return 0
            self.calls.append(name)
            return 900 if name == self.failing else 0

        return function


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: found)
    return found


def test_what_goes_up_comes_down_and_all_is_freed(
    library: Library, rng: np.random.Generator
) -> None:
    driver = Driver()
    device = CudaDevice(driver)
    assert device.dlpack == (2, 0)
    info = device.info()
    assert (info.name, info.sm) == ("Stand-in", "9.0")
    assert info.driver
    array = rng.standard_normal((3, 7, 5)).astype(np.float32)
    stream = device.stream()
    one, two = device.allocate(array.nbytes), device.allocate(array.nbytes)
    up, down = device.pinned(array.shape, np.float32), device.pinned(array.shape, np.float32)
    up.array[...] = array
    stream.upload(one, up)
    stream.copy(two.address, one.address, array.nbytes)
    stream.download(down, two)
    stream.synchronize()
    device.wait()
    np.testing.assert_array_equal(down.array, array)
    stream.close()
    for thing in (one, two, up, down):
        thing.free()
        thing.free()  # once is enough
    assert not driver.live
    assert driver.pushed.depth == 0


def test_a_capture_is_made_ready_launched_and_destroyed(library: Library) -> None:
    device = CudaDevice(Driver())
    stream = device.stream()
    with stream.capture() as graph:
        pass
    stream.launch(graph)
    graph.free()
    assert library.calls == [
        "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
        "cuGraphDestroy", "cuGraphLaunch", "cuGraphExecDestroy",
    ]  # fmt: skip


def test_a_failure_of_the_driver_has_its_name(library: Library) -> None:
    device = CudaDevice(Driver())
    stream = device.stream()
    library.failing = "cuStreamEndCapture"
    said = r"cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED operation not permi"
    with pytest.raises(RunError, match=said), stream.capture():
        pass
    library.failing = "cuGraphInstantiateWithFlags"
    library.calls.clear()
    with pytest.raises(RunError, match="cuGraphInstantiateWithFlags failed"), stream.capture():
        pass
    assert library.calls[-1] == "cuGraphDestroy"


def test_pycudas_memory_error_is_ours(library: Library) -> None:
    driver = Driver()
    device = CudaDevice(driver)
    driver.full = True
    with pytest.raises(DeviceOutOfMemory, match=r"8\.0 MB of device memory"):
        device.allocate(8_000_000)
    assert driver.pushed.depth == 0


def test_without_a_driver_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")

    import sys

    package = SimpleNamespace(driver=SimpleNamespace(init=init))
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", package.driver)
    device_cuda.cuda_device.cache_clear()
    with pytest.raises(BackendUnavailable, match=r"no CUDA-capable device.*nvidia-smi"):
        cuda_device()
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(BackendUnavailable, match=r"pycuda cannot be loaded.*'mien\[cuda\]'"):
        cuda_device()


@pytest.mark.gpu
def test_on_a_real_gpu_a_captured_copy_is_replayed(rng: np.random.Generator) -> None:
    try:
        device = cuda_device()
    except BackendUnavailable as error:
        pytest.skip(error.message)
    stream = device.stream()
    memory, up = device.allocate(4000), device.pinned((1000,), np.float32)
    down = device.pinned((1000,), np.float32)
    with stream.capture() as graph:
        stream.upload(memory, up)
        stream.download(down, memory)
    for _ in range(3):
        up.array[...] = rng.standard_normal(1000)
        stream.launch(graph)
        stream.synchronize()
        np.testing.assert_array_equal(down.array, up.array)
    graph.free()
    stream.close()
    for thing in (memory, up, down):
        thing.free()
