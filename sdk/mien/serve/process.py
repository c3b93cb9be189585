"""The service as a process: where it listens, for whom, and how long it waits for slow senders."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import BackendUnavailable, InputError
from mien.serve.application import app
from mien.serve.guard import LOOPBACK, TOKEN, is_address, is_loopback
from mien.serve.limits import Limits
from mien.studio import Studio

HOST = "127.0.0.1"
PORT = 8777
GRACE_S = 2  # for answers that are on their way when the service ends
BACKLOG = 128


def check_host(host: str, token: str | None) -> None:
    """Raise InputError for a token that is easily guessed, or none where others can listen."""
    if token is not None and not TOKEN.fullmatch(token):
        raise InputError(
            f"the token has {len(token)} characters, expected 16 to 128 of A-Z a-z 0-9 _ -",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe(24))"',
        )
    if token is None and not is_loopback(host):
        raise InputError(
            f"{host} is reached from other machines, and no token was given",
            hint="Give one: --token, or the environment variable MIEN_TOKEN",
        )


def run(
    studio: Studio,
    *,
    folder: str | Path,
    host: str = HOST,
    port: int = PORT,
    token: str | None = None,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    ready: Callable[[str], object] | None = None,
    log_level: str = "warning",
) -> None:
    """Serve until the process is told to end (Ctrl-C, SIGTERM).

    Args:
        studio, folder, token, limits: as in `app`.
        host: to listen on; one that other machines reach needs a token.
        port: 0 takes a free one. names: further names that the service goes by.
        ready: called with the page's address when it is about to listen.

    Raises InputError as `app` and for a host without a token; BackendUnavailable where the port
    is taken.
    """
    check_host(host, token)
    bound = limits or Limits()
    listening = _listen(host, port)
    try:
        served = app(
            studio,
            folder=folder,
            token=token,
            hosts={*LOOPBACK, host, *(name.lower() for name in names)},
            literals=not is_loopback(host),
            limits=bound,
        )
        if ready is not None:
            ready(address(host, listening.getsockname()[1], token))
        uvicorn.Server(config(served, bound, log_level)).run([listening])
    finally:
        listening.close()


def config(served: Any, limits: Limits, log_level: str = "warning") -> uvicorn.Config:
    """Return how uvicorn runs an application: patient with nobody, and quiet about itself."""
    return uvicorn.Config(
        served,
        http=patient(limits.read_s),
        ws="wsproto",
        ws_max_size=limits.frame_bytes,
        ws_per_message_deflate=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=GRACE_S,
        proxy_headers=False,  # anyone can send them
        server_header=False,
        access_log=False,  # addresses hold the names of faces
        log_level=log_level,
    )


def address(host: str, port: int, token: str | None) -> str:
    """Return the page's address. The token is behind the #, which browsers do not send."""
    shown = f"[{host}]" if ":" in host else host
    if is_address(host) and host in ("0.0.0.0", "::"):
        shown = socket.gethostname()
    return f"http://{shown}:{port}/" + (f"#token={token}" if token else "")


def patient(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol with an end to its patience: a connection on which no whole head
    of a request arrives for so long is closed, however steadily its bytes come in."""

    class Patient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def _wait(self) -> None:
            self._stop_waiting()
            self._deadline = self.loop.call_later(seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            if self.transport.get_protocol() is self:  # and not upgraded to a WebSocket
                self.transport.close()

    return Patient


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sends small answers at once (TCP_NODELAY) only where it is.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise BackendUnavailable(
            f"{host}:{port} cannot be listened on: {error.strerror}", hint="Name another: --port"
        ) from error
    listening.listen(BACKLOG)
    return listening
