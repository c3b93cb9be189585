"""Arrays go to and from the device by DLPack and __cuda_array_interface__, without a torch."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines import fake_gpu
from tests.engines.fake_gpu import OOM, BuildingTrt, FakeDevice, fake_host

from mien_engines import Bundle, DeviceArray, exchange
from mien_engines.backends.trt import TrtSession
from mien_engines.errors import DeviceOutOfMemory, InputError, RunError


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


def on_device(device: FakeDevice, array: NDArray[Any]) -> DeviceArray:
    """An array of ours there."""
    memory, stream = device.allocate(array.nbytes), device.stream()
    host = device.pinned(array.shape, array.dtype)
    host.array[...] = array
    given = DeviceArray(memory, array.shape, array.dtype)
    given.fill(stream, host)
    stream.close()
    host.free()
    return given


class Foreign:
    """Another library's array, of which only the protocol is known."""

    def __init__(self, array: NDArray[Any], where: tuple[int, int] = (1, 0)) -> None:
        self.array, self.where, self.shape = array, where, array.shape
        fake_gpu.FOREIGN.add(array.ctypes.data)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.where

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self.array.__dlpack__()


@pytest.fixture
def session(device: FakeDevice, tiny: Bundle) -> TrtSession:
    opened = BuildingTrt(fake_host(device)).open(tiny.graph_path("linear"), tiny.graph("linear"))
    assert isinstance(opened, TrtSession)
    return opened


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 7, 5), (1, 1, 2)])
def test_numpy_reads_what_is_handed_out(
    device: FakeDevice, rng: np.random.Generator, dtype: str, shape: tuple[int, ...]
) -> None:
    array = rng.integers(0, 2, shape).astype(dtype)
    given = on_device(device, array)
    assert given.__dlpack_device__() == device.dlpack
    shared = np.from_dlpack(given)  # the fake device's memory is the host's
    np.testing.assert_array_equal(shared, array)
    assert shared.dtype == array.dtype
    assert shared.ctypes.data == given.address  # not a copy
    np.testing.assert_array_equal(given.numpy(), array)


def test_memory_lives_as_long_as_anyone_reads_it(
    device: FakeDevice, rng: np.random.Generator
) -> None:
    array = rng.standard_normal((3, 5)).astype(np.float32)
    given = on_device(device, array)
    shared = np.from_dlpack(given)
    del given
    gc.collect()
    np.testing.assert_array_equal(shared, array)
    assert device.leaked == {"memory": 1}
    del shared
    gc.collect()
    assert device.leaked == {}
    assert not exchange._lent


def test_a_capsule_that_nobody_takes_holds_nothing(device: FakeDevice) -> None:
    given = on_device(device, np.zeros(3, np.float32))
    for _ in range(3):
        given.__dlpack__()
    assert not exchange._lent
    del given
    gc.collect()
    assert device.leaked == {}


def test_a_copy_or_another_device_is_not_to_be_had(device: FakeDevice) -> None:
    given = on_device(device, np.zeros(3, np.float32))
    with pytest.raises(BufferError):
        given.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        given.__dlpack__(dl_device=(2, 0))
    with pytest.raises(AttributeError):
        _ = given.__cuda_array_interface__


def test_the_cuda_interface_says_what_lies_there(device: FakeDevice) -> None:
    given = on_device(device, np.zeros((2, 3), np.float32))
    device.kind = "cuda"  # type: ignore[misc]
    assert given.__cuda_array_interface__ == {
        "version": 3,
        "shape": (2, 3),
        "typestr": "<f4",
        "data": (given.address, False),
        "strides": None,
        "stream": None,
    }


def test_a_run_among_device_arrays_gives_the_numbers_of_a_run(
    session: TrtSession, device: FakeDevice, rng: np.random.Generator
) -> None:
    for turn in range(4):  # the first warms up, the second is captured
        x = rng.standard_normal((2 + turn % 2, 3)).astype(np.float32)
        expected = session.run({"x": x})["y"]
        for given in (x, on_device(device, x), Foreign(x)):
            found = session.run_resident({"x": given})["y"]
            assert isinstance(found, DeviceArray)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(found.numpy(), expected)
    first = session.run_resident({"x": x})["y"]
    kept = first.numpy()
    session.run_resident({"x": -x})
    np.testing.assert_array_equal(first.numpy(), kept)  # it is the caller's own
    del found, first, given
    session.close()
    gc.collect()
    assert device.leaked == {}


def test_what_one_graph_makes_another_takes_without_the_host(
    session: TrtSession, device: FakeDevice, tiny: Bundle, rng: np.random.Generator
) -> None:
    picture = BuildingTrt(fake_host(device)).open(tiny.graph_path("picture"), tiny.graph("picture"))
    assert isinstance(picture, TrtSession)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    y = session.run_resident({"x": x})["y"]
    seen = len(device.log)
    image = picture.run_resident({"y": y})["image"]
    assert {name for name, _ in device.log[seen:]}.isdisjoint({"upload", "download"})
    np.testing.assert_array_equal(
        image.numpy(), picture.run({"y": session.run({"x": x})["y"]})["image"]
    )


def test_what_is_put_there_is_that_and_leaks_nothing(
    session: TrtSession, device: FakeDevice, rng: np.random.Generator
) -> None:
    array = rng.standard_normal((3, 5)).astype(np.float32)
    given = session.put(array)
    np.testing.assert_array_equal(given.numpy(), array)
    del given
    gc.collect()
    for what in ("allocate", "pin", "stream", "upload"):
        device.fail[what] = (device.calls(what) + 1, OOM)
        with pytest.raises(DeviceOutOfMemory):
            session.put(array)
        device.fail.clear()
        gc.collect()
    assert device.leaked == {}


def test_borrowed_arrays_are_given_back(session: TrtSession) -> None:
    x = np.zeros((2, 3), np.float32)
    before = sys.getrefcount(x)
    for _ in range(5):
        session.run_resident({"x": Foreign(x)})
    gc.collect()
    assert sys.getrefcount(x) == before
    with pytest.raises(InputError, match="dtype int32"):
        session.run_resident({"x": Foreign(x.astype(np.int32))})


def test_what_does_not_fit_is_refused(session: TrtSession, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3)).astype(np.float32)
    with pytest.raises(InputError, match=r"DLPack device \(2, 0\), the graph runs on \(1, 0\)"):
        session.run_resident({"x": Foreign(x, (2, 0))})
    with pytest.raises(InputError, match="not a C-contiguous array"):
        session.run_resident({"x": Foreign(np.asfortranarray(x))})
    with pytest.raises(InputError, match="not a C-contiguous array of a type that NumPy has"):
        session.run_resident({"x": Foreign(x.astype(np.complex64))})
    with pytest.raises(InputError, match=r"shape \(2, 4\), expected \(N, 3\)"):
        session.run_resident({"x": Foreign(np.zeros((2, 4), np.float32))})
    with pytest.raises(InputError, match=r"input x .* is missing"):
        session.run_resident({})
    with pytest.raises(InputError, match="no input 'z'"):
        session.run_resident({"x": x, "z": x})


class OnCuda:
    """An array of which only the CUDA interface is known."""

    def __init__(self, array: NDArray[Any], **changed: Any) -> None:
        self.array = array
        fake_gpu.FOREIGN.add(array.ctypes.data)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            **changed,
        }


def test_the_cuda_interface_of_others_is_read(
    session: TrtSession, device: FakeDevice, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 3)).astype(np.float32)
    expected = session.run({"x": x})["y"]
    with pytest.raises(InputError, match="is on a CUDA device, the graph runs on fake"):
        session.run_resident({"x": OnCuda(x)})
    device.kind = "cuda"  # type: ignore[misc]
    for given in (OnCuda(x), OnCuda(x, strides=x.strides), OnCuda(x, strides=None, stream=1)):
        np.testing.assert_array_equal(session.run_resident({"x": given})["y"].numpy(), expected)
    with pytest.raises(InputError, match="not C-contiguous"):
        session.run_resident({"x": OnCuda(x, strides=(4, 8))})


def test_out_of_memory_for_an_output_leaks_nothing(device: FakeDevice, session: TrtSession) -> None:
    x = np.zeros((2, 3), np.float32)
    session.run_resident({"x": x})
    gc.collect()
    device.fail["allocate"] = (device.calls("allocate") + 1, OOM)
    with pytest.raises(DeviceOutOfMemory):
        session.run_resident({"x": x})
    device.fail.clear()
    session.run_resident({"x": x})
    session.close()
    gc.collect()
    assert device.leaked == {}
    with pytest.raises(RunError, match="closed"):
        session.run_resident({"x": x})
