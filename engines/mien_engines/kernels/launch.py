"""What a launch of a kernel is, and what a card can take: plain numbers, nothing of CUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mien_engines.errors import BackendUnavailable

Dim = tuple[int, int, int]
Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_longlong | ctypes.c_float

KIB = 1024
RESERVED = 1 * KIB  # of shared memory, by CUDA, for each block
OPT_IN = {(8, 0): 163, (8, 6): 99, (8, 7): 163, (8, 9): 99, (9, 0): 227, (10, 0): 227, (12, 0): 99}
OLDEST = (8, 0)  # bfloat16 in hardware


@dataclass(frozen=True)
class Card:
    """A GPU as far as launches depend on it.

    capability: (9, 0) for an H200. multiprocessors: how many blocks run side by side at the least.
    block_shared: bytes of shared memory that one block may have. l2: bytes of that cache.
    """

    capability: tuple[int, int]
    multiprocessors: int
    block_shared: int
    l2: int

    def __post_init__(self) -> None:
        if self.capability < OLDEST:
            raise BackendUnavailable(
                f"the GPU has compute capability {_dotted(self.capability)}, "
                f"the kernels need {_dotted(OLDEST)} or later",
                hint='Use the CPU: impl="native" of mien.ops, or the backend ort',
            )

    @property
    def clusters(self) -> tuple[int, ...]:
        """How many blocks may share their memory; 8 is the most that every such card takes."""
        return (2, 4, 8) if self.capability >= (9, 0) else ()

    @property
    def paired_shared(self) -> int:
        """Bytes of shared memory of a block of which two fit on a multiprocessor."""
        return (self.block_shared + RESERVED) // 2 - RESERVED


def known_card(capability: tuple[int, int], multiprocessors: int, l2: int) -> Card:
    """A card by its figures, for planning without one."""
    return Card(capability, multiprocessors, OPT_IN[capability] * KIB, l2)


H200 = known_card((9, 0), 132, 60 << 20)
A100 = known_card((8, 0), 108, 40 << 20)
RTX3090 = known_card((8, 6), 82, 6 << 20)
RTX4090 = known_card((8, 9), 128, 72 << 20)


@dataclass(frozen=True)
class Launch:
    """One kernel, with all that the driver is told.

    shared: bytes of dynamic shared memory. cluster: blocks that run together and may read each
    other's. arguments: in the order of the kernel's parameters.
    """

    kernel: str
    grid: Dim
    block: Dim
    arguments: tuple[Argument, ...]
    shared: int = 0
    cluster: int = 1


class Memory(Protocol):
    """A piece of device memory, which stays as long as the object does."""

    address: int
    nbytes: int


class Runner(Protocol):
    """Who runs launches: CUDA's driver, or, in tests, the emulation."""

    card: Card

    def run(self, launches: Sequence[Launch], stream: int) -> None:
        """Queue them on a stream, one after another."""

    def workspace(self, nbytes: int, stream: int) -> Memory:
        """Memory for what is between the launches of one call; the next call on the stream uses it
        again."""


def pointer(address: int | None) -> Argument:
    return ctypes.c_void_p(address)


def integers(*values: int) -> tuple[Argument, ...]:
    return tuple(map(ctypes.c_int, values))


def wide_integers(*values: int) -> tuple[Argument, ...]:
    return tuple(map(ctypes.c_longlong, values))


def floats(*values: float) -> tuple[Argument, ...]:
    return tuple(map(ctypes.c_float, values))


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
