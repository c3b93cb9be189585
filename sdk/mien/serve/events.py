"""Server-sent events, as the HTML standard writes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

SILENCE_S = 15.0  # after which a comment is sent, so that nothing on the way gives up


async def stream(events: AsyncIterator[tuple[str, str]]) -> AsyncIterator[bytes]:
    """Write events, (name, data of one line), as they come; the source is closed at the end."""
    source = events.__aiter__()
    coming: asyncio.Future[tuple[str, str]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(source.__anext__())
            done, _ = await asyncio.wait({coming}, timeout=SILENCE_S)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                name, data = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield f"event: {name}\ndata: {data}\n\n".encode()
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming
        if (close := getattr(source, "aclose", None)) is not None:
            await close()
