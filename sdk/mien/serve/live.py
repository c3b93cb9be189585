"""Live pictures over a WebSocket: frames in, drawn frames out, the newest first.

The client sends settings as JSON text, at once and whenever they change, and frames as 8 bytes of
its own followed by a JPEG. Each drawn frame comes back after the same 8 bytes, by which the client
tells its age. A frame that something newer overtakes is dropped: an answer also settles all frames
sent before its own. Every second a report comes as text, {"report": ...}; what goes wrong comes as
{"problem": ...}, and the session goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Annotated, TypeVar, TypeVarTuple

import cv2
from pydantic import Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.decode import load_bytes
from mien.errors import MienError
from mien.realtime.report import Meter
from mien.serve.drawing import Drawer
from mien.serve.errors import InvalidRequest, Problem
from mien.serve.guard import SUBPROTOCOL
from mien.serve.limits import Limits
from mien.serve.metrics import Metrics
from mien.serve.wire import Asked, Part, Word
from mien.studio import Studio
from mien.video.edit import Artist
from mien.video.frame import Frame

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STAMP = 8  # bytes before a frame that are the client's
QUALITY = 85  # of JPEG
REPORT_S = 1.0
CLOCK = Fraction(1, 1_000_000)
TRY_AGAIN = 1013  # the WebSocket code for a service that is full


class LiveSettings(Asked):
    """What a live session draws."""

    style: Word
    strength: Part = 1.0
    keep_colour: bool = False
    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.3


class Live:
    """The live sessions of a service."""

    def __init__(self, studio: Studio, drawer: Drawer, limits: Limits, metrics: Metrics) -> None:
        self._studio, self._drawer = studio, drawer
        self._limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(max(1, limits.live), "mien live")
        self.sessions = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one client until it goes."""
        asked = SUBPROTOCOL if SUBPROTOCOL in socket.scope.get("subprotocols", ()) else None
        await socket.accept(subprotocol=asked)
        if self.sessions >= self._limits.live:
            await socket.close(TRY_AGAIN, f"{self.sessions} live sessions are open already")
            return
        self.sessions += 1
        session = _Session(self, socket)
        try:
            await session.run()
        finally:
            self.sessions -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def artist(self, settings: LiveSettings) -> Artist:
        """Make an edit ready: its style is read, once."""
        edit = self._studio.style_edit(
            self._drawer.style_named(settings.style),
            strength=settings.strength,
            keep_colour=settings.keep_colour,
        )
        return Artist(edit, smoothing=settings.smoothing)

    def draw(self, artist: Artist, jpeg: bytes, number: int) -> bytes:
        """Draw a frame, JPEG to JPEG. Raises what reading and drawing raise."""
        began = time.perf_counter()
        limit = self._limits.frame_pixels
        pixels = load_bytes(jpeg, name="the frame", max_pixels=limit)
        frame = Frame(pixels, number, round(began / CLOCK), 0, CLOCK)
        picture, _ = artist.draw(frame)
        options = (cv2.IMWRITE_JPEG_QUALITY, QUALITY)
        _, data = cv2.imencode(".jpg", picture[:, :, ::-1], options)
        self._metrics.frames.observe(time.perf_counter() - began)
        return data.tobytes()

    async def off_loop(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run a function in a thread of the live sessions."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)


class _Session:
    """One client: what it sent last, and what was drawn of it."""

    def __init__(self, live: Live, socket: WebSocket) -> None:
        self._live, self._socket = live, socket
        self._meter, self._dropped = Meter(), 0
        self._frame: tuple[bytes, float] | None = None
        self._settings: LiveSettings | None = None
        self._artist: Artist | None = None
        self._came = asyncio.Event()

    async def run(self) -> None:
        tasks = [asyncio.ensure_future(part()) for part in (self._listen, self._draw, self._report)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                self._take(data)
            elif (text := message.get("text")) is not None:
                await self._set(text)

    def _take(self, data: bytes) -> None:
        self._dropped += self._frame is not None
        self._frame = data, time.perf_counter()
        self._meter.count("captured")
        self._came.set()

    async def _set(self, text: str) -> None:
        try:
            self._settings, self._artist = LiveSettings.model_validate_json(text), None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the settings"
            await self._complain(InvalidRequest(f"{where}: {first['msg']}"))
        self._came.set()

    async def _draw(self) -> None:
        number = 0
        while True:
            await self._came.wait()
            self._came.clear()
            if self._frame is None or self._settings is None:
                continue
            (data, taken), self._frame = self._frame, None
            began = time.perf_counter()
            try:
                jpeg = await self._drawn(self._settings, data[STAMP:], number)
            except MienError as error:
                self._meter.count("failed")
                await self._complain(error)
                jpeg = b""  # an answer all the same: the client waits for one
            else:
                self._meter.count("drawn")
                self._meter.time("draw", time.perf_counter() - began)
            await self._socket.send_bytes(data[:STAMP] + jpeg)
            if jpeg:
                self._meter.shown(time.perf_counter(), taken)
            number += 1

    async def _drawn(self, settings: LiveSettings, jpeg: bytes, number: int) -> bytes:
        artist = self._artist
        if artist is None:
            artist = self._artist = await self._live.off_loop(self._live.artist, settings)
        return await self._live.off_loop(self._live.draw, artist, jpeg, number)

    async def _report(self) -> None:
        began = time.perf_counter()
        while True:
            await asyncio.sleep(REPORT_S)
            passed = time.perf_counter() - began
            report = self._meter.report(passed, self._dropped, 0, "running")
            await self._socket.send_text(json.dumps({"report": report.record()}))

    async def _complain(self, error: MienError) -> None:
        await self._socket.send_text(json.dumps({"problem": Problem.of(error).model_dump()}))
