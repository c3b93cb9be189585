"""A typed error as the answer of an ASGI application."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mien.errors import MienError
from mien.serve.errors import Problem, headers_of, status_of

POLICY_VIOLATION = 1008  # the WebSocket code for what is not allowed


def problem(error: MienError) -> JSONResponse:
    """Return the response that tells of an error: its status, and `Problem` as JSON."""
    return JSONResponse(Problem.of(error).model_dump(), status_of(error), headers_of(error))


async def refuse(error: MienError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket before it is accepted, with an error."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    else:
        await problem(error)(scope, receive, send)
