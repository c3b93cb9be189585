"""The line before quick work: what is refused, what is passed over, what is counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from mien.errors import Cancelled
from mien.serve.errors import Busy, Deadline
from mien.serve.limits import Limits
from mien.serve.line import Line
from mien.serve.metrics import Metrics


class Sender:
    """A request whose sender leaves when it is told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    @property
    def request(self) -> Request:
        async def receive() -> Any:
            await self.left.wait()
            return {"type": "http.disconnect"}

        return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def played(limits: Limits, play: Callable[[Line, Metrics], Any]) -> Any:
    """Run an asynchronous play with a line."""

    async def whole() -> Any:
        metrics = Metrics()
        line = Line(limits, metrics)
        try:
            return await play(line, metrics)
        finally:
            await asyncio.to_thread(line.close)

    return asyncio.run(whole())


def test_work_gives_its_result_and_its_times() -> None:
    async def play(line: Line, _: Metrics) -> None:
        done = await line.run(lambda: 42, Sender().request)
        assert done.value == 42
        assert done.waited >= 0
        assert done.took >= 0
        await asyncio.sleep(0)
        assert line.length == 0

    played(Limits(), play)


def test_a_full_line_refuses_at_once_and_has_room_again() -> None:
    async def play(line: Line, _: Metrics) -> None:
        gate = threading.Event()
        waiting = [asyncio.ensure_future(line.run(gate.wait, Sender().request)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy, match="3 requests wait already"):
            await line.run(lambda: None, Sender().request)
        gate.set()
        await asyncio.gather(*waiting)
        await asyncio.sleep(0.01)
        await line.run(lambda: None, Sender().request)

    played(Limits(line=3, quick_threads=1), play)


def test_work_that_does_not_begin_in_time_is_given_up() -> None:
    async def play(line: Line, _: Metrics) -> None:
        gate, ran = threading.Event(), threading.Event()
        first = line._pool.submit(gate.wait)  # past the line, whose limit is for the second alone
        with pytest.raises(Deadline, match="more than 0 s"):
            await line.run(ran.set, Sender().request)
        gate.set()
        assert await asyncio.wrap_future(first)
        assert not ran.is_set()

    played(Limits(quick_threads=1, wait_s=0.05), play)


def test_work_whose_sender_has_left_is_not_begun() -> None:
    async def play(line: Line, metrics: Metrics) -> None:
        gate, ran, sender = threading.Event(), threading.Event(), Sender()
        first = asyncio.ensure_future(line.run(gate.wait, Sender().request))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(line.run(ran.set, sender.request))
        await asyncio.sleep(0.01)
        sender.left.set()
        with pytest.raises(Cancelled):
            await second
        gate.set()
        await first
        assert not ran.is_set()
        assert b"mien_left_total 1.0" in metrics.text()

    played(Limits(quick_threads=1), play)


def test_what_work_raises_is_raised() -> None:
    async def play(line: Line, _: Metrics) -> None:
        with pytest.raises(ZeroDivisionError):
            await line.run(lambda: 1 / 0, Sender().request)

    played(Limits(), play)
