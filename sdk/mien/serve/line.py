"""The line before quick work: so many run, so many wait, and who has left is passed over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from mien.errors import Cancelled
from mien.serve.errors import Busy, Deadline
from mien.serve.limits import Limits
from mien.serve.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """A result, and the seconds that it waited and took."""

    value: T
    waited: float
    took: float


class Line:
    """Runs functions in a few threads. To be used from one event loop."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(limits.quick_threads, "mien quick")
        self.length = 0

    async def run(self, work: Callable[[], T], request: Request) -> Done[T]:
        """Run work for a request that was read to its end.

        Raises Busy where the line is full, Deadline where work does not begin in time, Cancelled
        where its sender left before, and what work raises.
        """
        if self.length >= self._limits.line:
            raise Busy(f"{self.length} requests wait already", hint="Try again in a moment")
        asked = time.perf_counter()

        def timed() -> Done[T]:
            began = time.perf_counter()
            self._metrics.waits.observe(began - asked)
            value = work()
            return Done(value, began - asked, time.perf_counter() - began)

        self.length += 1
        future = self._pool.submit(timed)
        # A place is free when the thread is done, not when somebody stops waiting for it.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        waiting = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_gone(request))
        either: set[asyncio.Future[Any]] = {waiting, gone}
        try:
            await asyncio.wait(
                either, timeout=self._limits.wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not waiting.done() and future.cancel():
                if gone.done():
                    self._metrics.left.inc()
                    raise Cancelled("the sender has left")
                raise Deadline(
                    f"it would have waited for more than {self._limits.wait_s:.0f} s",
                    hint="Try again in a moment",
                )
            return await waiting
        finally:
            gone.cancel()

    def close(self) -> None:
        """End the threads, and what waits for them."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _leave(self) -> None:
        self.length -= 1


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
