"""Work in stages: one thread prepares what the next one needs, at most a few items ahead."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2  # items
PATIENCE_S = 0.1  # between two looks whether anyone still wants the items


class _End:
    """What comes after the last item: how the iterator ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextlib.contextmanager
def ahead(items: Iterator[T], count: int = AHEAD) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread, at most `count` items ahead, and yield it.

    Its errors are raised where the items are taken. When the block is left the iterator is closed
    and its thread has ended, wherever it was.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(count)
    left = threading.Event()

    def offer(item: T | _End) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=PATIENCE_S)
                return True
        return False

    def run() -> None:
        ended = _End(None)
        try:
            with contextlib.closing(items):  # type: ignore[type-var]
                for item in items:
                    if not offer(item):
                        return
        except BaseException as error:  # whatever it is, it belongs to the thread that waits
            ended = _End(error)
        offer(ended)

    def take() -> Iterator[T]:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=run, name="mien stage", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        left.set()
        thread.join()
