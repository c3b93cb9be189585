"""A WebSocket client of few lines, and requests written byte by byte."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    Request,
    TextMessage,
)

PATIENCE_S = 120.0


class Refused(Exception):
    """The service did not accept the session; status: of HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


class Closed(Exception):
    """The service ended the session."""

    def __init__(self, code: int, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason or ""


class LiveClient:
    """A WebSocket to a service on this machine."""

    def __init__(
        self, port: int, path: str, *, protocols: Sequence[str] = (), origin: str | None = None
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._connection = WSConnection(ConnectionType.CLIENT)
        headers = [] if origin is None else [(b"Origin", origin.encode())]
        request = Request(
            host=f"127.0.0.1:{port}", target=path, subprotocols=list(protocols),
            extra_headers=headers,
        )  # fmt: skip
        self._socket.sendall(self._connection.send(request))
        self._events: deque[Any] = deque()
        self._parts: list[Any] = []
        first = self._event()
        if isinstance(first, RejectConnection):
            self._socket.close()
            raise Refused(first.status_code)
        assert isinstance(first, AcceptConnection)
        self.subprotocol = first.subprotocol

    def send(self, data: bytes | dict[str, Any]) -> None:
        """Send bytes, or JSON as text."""
        event = BytesMessage(data) if isinstance(data, bytes) else TextMessage(json.dumps(data))
        self._socket.sendall(self._connection.send(event))

    def send_text(self, text: str) -> None:
        self._socket.sendall(self._connection.send(TextMessage(text)))

    def receive(self) -> bytes | dict[str, Any]:
        """Return the next message: bytes, or what JSON text holds."""
        while True:
            event = self._event()
            if isinstance(event, CloseConnection):
                raise Closed(event.code, event.reason)
            if isinstance(event, BytesMessage | TextMessage):
                self._parts.append(event.data)
                if event.message_finished:
                    whole = self._parts[0][:0].join(self._parts)
                    self._parts = []
                    return bytes(whole) if isinstance(event, BytesMessage) else json.loads(whole)

    def frame(self) -> bytes:
        """Return the next bytes; reports on the way are left out."""
        while not isinstance(message := self.receive(), bytes):
            assert "report" in message, message
        return message

    def told(self, what: str) -> dict[str, Any]:
        """Return the next text of a kind: "report" or "problem"."""
        while True:
            message = self.receive()
            if isinstance(message, dict) and what in message:
                found: dict[str, Any] = message[what]
                return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _event(self) -> Any:
        while not self._events:
            data = self._socket.recv(65536)
            self._connection.receive_data(data or None)
            self._events.extend(self._connection.events())
        return self._events.popleft()


def answer_to(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes until the service closes, or nothing comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as one:
        one.sendall(data)
        return rest_of(one)


def rest_of(one: socket.socket) -> bytes:
    """Return what comes on a socket until it is closed."""
    parts = []
    try:
        while part := one.recv(65536):
            parts.append(part)
    except (ConnectionError, TimeoutError):
        pass
    return b"".join(parts)
