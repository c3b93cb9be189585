"""The emulation itself: what it is to find, it finds; what is right passes in any order."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_engines.kernels.launch import Launch, pointer
from tests.kernels.emulation import Emulation, Guarded, bits_from, build, floats_from

THREADS = 128
SEEDS = range(1, 9)


@pytest.fixture(scope="module")
def broken() -> ctypes.CDLL:
    return build([Path(__file__).with_name("broken.cu")])


def run(
    library: ctypes.CDLL,
    kernel: str,
    seed: int,
    *,
    shared: int = 64,
    size: int = THREADS,
    **more: Any,
) -> NDArray[np.int32]:
    out = Guarded(np.full(size, -1, np.int32))
    grid = (more.get("cluster", 1), 1, 1)
    launch = Launch(kernel, grid, (THREADS, 1, 1), (pointer(out.address),), shared, **more)
    Emulation(library, seed=seed).run([launch], 0)
    value: NDArray[np.int32] = out.value
    return value


def test_a_missing_barrier_behind_a_write_shows_in_random_order(broken: ctypes.CDLL) -> None:
    name = "no_barrier_behind_a_write"
    assert (run(broken, name, 0) == 7).all()  # in order nobody would notice
    assert all((run(broken, name, seed) != 7).any() for seed in SEEDS)


def test_a_missing_barrier_in_front_of_a_write_shows_in_random_order(broken: ctypes.CDLL) -> None:
    name = "no_barrier_in_front_of_a_write"
    found = [run(broken, name, seed) for seed in SEEDS]
    assert all((values == 8).any() for values in found)


def test_sums_that_overtake_each_other_show_in_random_order(broken: ctypes.CDLL) -> None:
    name, wanted = "two_sums_without_a_barrier_between", np.repeat([4, 8], THREADS)
    found = [run(broken, name, seed, size=2 * THREADS) for seed in SEEDS]
    assert all((values != wanted).any() for values in found)


def test_a_barrier_that_some_never_reach_is_an_error(broken: ctypes.CDLL) -> None:
    with pytest.raises(RuntimeError, match="threads wait for others that ended"):
        run(broken, "a_barrier_that_some_never_reach", 0)


def test_writes_beyond_shared_memory_are_an_error(broken: ctypes.CDLL) -> None:
    assert (run(broken, "shared_memory_beyond_its_end", 0, shared=4 * THREADS) == 1).all()
    with pytest.raises(RuntimeError, match="shared memory was written beyond its end"):
        run(broken, "shared_memory_beyond_its_end", 0, shared=4 * THREADS - 4)


def test_writes_beyond_an_array_are_found(broken: ctypes.CDLL) -> None:
    with pytest.raises(AssertionError, match="a kernel wrote beyond an array"):
        run(broken, "an_array_beyond_its_end", 0)


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_a_cluster_read_each_other(broken: ctypes.CDLL, seed: int) -> None:
    found = run(broken, "ranks_of_a_cluster", seed, size=4 * THREADS, cluster=4)
    assert (found == 1234).all()


def test_an_unknown_kernel_is_an_error(broken: ctypes.CDLL) -> None:
    with pytest.raises(RuntimeError, match="none_of_that_name"):
        run(broken, "none_of_that_name", 0)


def test_bfloat16_is_the_nearest_and_the_even_one_of_two(rng: np.random.Generator) -> None:
    bits = rng.integers(0, 0x7F7F0000, 20000, np.uint32)  # below the largest, so that all is finite
    numbers = np.concatenate([bits, bits & np.uint32(0xFFFF0000) | np.uint32(0x8000)]).view(
        np.float32
    )
    below = numbers.view(np.uint32) >> 16
    exact, low, high = (
        a.astype(np.float64) for a in (numbers, floats_from(below), floats_from(below + 1))
    )
    up = (high - exact < exact - low) | ((high - exact == exact - low) & (below % 2 == 1))
    np.testing.assert_array_equal(bits_from(numbers), below + up)
    np.testing.assert_array_equal(bits_from(-numbers), (below + up) | 0x8000)
