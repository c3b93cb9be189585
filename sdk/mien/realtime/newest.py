"""What lies between two stages: a queue of two that forgets its oldest, and buffers for reuse."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

DEPTH = 2  # frames


class Newest(Generic[T]):
    """A queue whose reader gets the newest item; those it leaves behind are dropped.

    forget: called with each that is dropped. Writers never wait, readers wait for an item.
    """

    def __init__(self, forget: Callable[[T], object], depth: int = DEPTH) -> None:
        self._items: deque[T] = deque()
        self._forget, self._depth = forget, depth
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Nothing comes any more, and nothing is left."""
        return self._closed and not self._items

    def put(self, item: T) -> None:
        """Add an item, at the cost of the oldest where the queue is full."""
        with self._changed:
            self._items.append(item)
            self._drop_to(self._depth)
            self._changed.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """Return the newest item; None after `timeout` seconds, or once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            self._drop_to(1)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        """Say that nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop_to(self, count: int) -> None:
        while len(self._items) > count:
            self._forget(self._items.popleft())
            self.dropped += 1


class Buffers:
    """Pictures of one size that are used again and again.

    There are as many as can be in use at once; asking for more is a mistake of the caller's.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        width, height = size
        self._free = deque(np.zeros((height, width, 3), np.uint8) for _ in range(count))

    def take(self) -> NDArray[np.uint8]:
        """Return a free one [H, W, 3], with anything in it."""
        return self._free.popleft()

    def give(self, buffer: NDArray[np.uint8]) -> None:
        """Let it be used again."""
        self._free.append(buffer)
