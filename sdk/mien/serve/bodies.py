"""What is sent: its type, its size, and the time that it takes, looked at before anything reads it.

A body is taken into memory as it arrives, up to its limit, and handed on whole. All bodies together
have a limit, too, so that many senders at once cost no more than that.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import MienError
from mien.serve.errors import BodyTooLarge, Busy, TooSlow, WrongType
from mien.serve.limits import Limits
from mien.serve.refuse import refuse

BODILESS = ("GET", "HEAD", "OPTIONS")
TOGETHER = 16  # bodies of full size that all requests may hold at once


class Bodies:
    """Hands on requests whose body is JSON or a picture, within the limits."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._held = 0  # bytes, of all requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        try:
            whole = await self._read(scope, receive, body)
        except MienError as error:
            return await refuse(error, scope, receive, send)
        finally:
            self._held -= len(body)
        if not whole:
            return None  # the sender has gone
        return await self._app(scope, _replayed(bytes(body), receive), send)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        headers = Headers(scope=scope)
        limit = self._limit(headers, scope["method"])
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        began = time.monotonic()
        while True:
            message = await self._next(receive, began, len(body))
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            body += part
            self._held += len(part)
            if len(body) > limit:
                raise _too_large(limit)
            if self._held > TOGETHER * self._limits.body_bytes:
                raise Busy("too much is being sent at once", hint="Try again in a moment")
            if not message.get("more_body", False):
                return True

    async def _next(self, receive: Receive, began: float, got: int) -> Message:
        """The next part; the time that is left grows with what has come."""
        left = began + self._limits.read_s + got / self._limits.bytes_per_s - time.monotonic()
        try:
            return await asyncio.wait_for(receive(), max(0.0, left))
        except TimeoutError:
            raise TooSlow("the request arrives too slowly", hint="Send it again") from None

    def _limit(self, headers: Headers, method: str) -> int:
        """Bytes that a body of its type may have. Without a type there may be none."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            return self._limits.json_bytes
        if kind.startswith("image/"):
            return self._limits.body_bytes
        if kind and method not in BODILESS:
            raise WrongType(
                f"a body of type {kind[:60]} is not read", hint="Send application/json or image/..."
            )
        return 0


def _too_large(limit: int) -> BodyTooLarge:
    if limit == 0:
        return BodyTooLarge("a body without a type is not read", hint="Send Content-Type")
    return BodyTooLarge(
        f"the body has more than {limit} bytes", hint="Scale the picture down, or send less"
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body, then what comes after it: the sender's leaving."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
