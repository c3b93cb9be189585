"""torch reads what a device hands out and is read by it, neither knowing of the other."""

from __future__ import annotations

import gc

import numpy as np
import torch
from tests.engines import fake_gpu
from tests.engines.fake_gpu import FakeDevice

from mien_engines import DeviceArray
from mien_engines.exchange import borrow, is_on_device


def test_torch_shares_the_memory_both_ways(rng: np.random.Generator) -> None:
    device = FakeDevice()
    array = rng.standard_normal((3, 7, 5)).astype(np.float32)
    memory = device.allocate(array.nbytes)
    device.at(memory.address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)
    given = DeviceArray(memory, array.shape, array.dtype)
    tensor = torch.from_dlpack(given)
    assert tensor.data_ptr() == given.address
    np.testing.assert_array_equal(tensor.numpy(), array)
    tensor += 1  # seen by both
    np.testing.assert_array_equal(given.numpy(), array + 1)
    del given
    gc.collect()
    np.testing.assert_array_equal(tensor.numpy(), array + 1)
    del tensor
    gc.collect()
    assert device.leaked == {}

    source = torch.from_numpy(array)
    assert is_on_device(source)
    fake_gpu.FOREIGN.add(source.data_ptr())
    taken = borrow("x", source, device, 0)
    assert (taken.address, taken.shape, taken.dtype) == (
        source.data_ptr(), array.shape, array.dtype,
    )  # fmt: skip
    taken.release()
