"""Live pictures in a browser: JPEG after JPEG over HTTP, to this machine alone.

The address holds a secret, without which nothing is answered, and the server listens on the
loopback interface: other people's pages and other users of the machine do not see the camera. A
slow viewer misses pictures; nothing queues up for him.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import BackendUnavailable

HOST = "127.0.0.1"
QUALITY = 90
BOUNDARY = "picture"
LINGER_S = 5.0  # after the last viewer has left: a page that is loaded anew is not a goodbye
SILENCE_S = 1.0  # between two looks whether the server is still open
PAGE = """<!doctype html><meta charset="utf-8"><title>mien</title>
<style>body{{margin:0;background:#111;display:grid;place-items:center;height:100vh}}
img{{max-width:100%;max-height:100%;image-rendering:auto}}</style>
<img src="/{secret}/stream" alt="live picture">"""


class Mjpeg:
    """A page that shows the newest picture; its address is `where`.

    port: 0 takes a free one. linger: seconds after the last viewer has left until it is `gone`.

    Raises BackendUnavailable where the port is taken.
    """

    def __init__(self, port: int = 0, *, linger: float = LINGER_S) -> None:
        self._secret = secrets.token_urlsafe(12)
        self._linger = linger
        self._changed = threading.Condition()
        self._picture: NDArray[np.uint8] | None = None
        self._jpeg, self._number, self._encoded = b"", 0, 0
        self._viewers, self._left_at = 0, float("inf")
        self._open = True
        try:
            self._server = _Server((HOST, port), self)
        except OSError as error:
            raise BackendUnavailable(
                f"port {port} cannot be used: {error.strerror}", hint="Name another: --port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.where = f"http://{HOST}:{self._server.server_port}/{self._secret}/"

    @property
    def gone(self) -> bool:
        """Someone has looked, and nobody has for a while."""
        with self._changed:
            return not self._viewers and time.monotonic() - self._left_at > self._linger

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Make this the picture [H, W, 3] that viewers get next. It is encoded when one asks."""
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Say goodbye to all viewers."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answers(self, host: str, path: str) -> str | None:
        """What lies at a path: "page", "stream", or nothing. A page of another name that resolves
        to this machine is not answered."""
        port = self._server.server_port
        if host not in (f"{HOST}:{port}", f"localhost:{port}"):
            return None
        places = {f"/{self._secret}/": "page", f"/{self._secret}/stream": "stream"}
        return next((what for p, what in places.items() if secrets.compare_digest(p, path)), None)

    def page(self) -> bytes:
        return PAGE.format(secret=self._secret).encode()

    @contextlib.contextmanager
    def watched(self) -> Any:
        """Count a viewer while it is there."""
        with self._changed:
            self._viewers += 1
        try:
            yield
        finally:
            with self._changed:
                self._viewers -= 1
                self._left_at = time.monotonic()

    def newer_than(self, number: int) -> tuple[int, bytes] | None:
        """Wait for a picture newer than one, and return its number and its JPEG, encoded once for
        all viewers; None once it is closed."""
        with self._changed:
            while self._open and self._number == number:
                self._changed.wait(SILENCE_S)
            if not self._open or self._picture is None:
                return None
            if self._encoded != self._number:
                bgr = self._picture[:, :, ::-1]
                done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
                assert done
                self._jpeg, self._encoded = data.tobytes(), self._number
            return self._number, self._jpeg


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], viewer: Mjpeg) -> None:
        self.viewer = viewer
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        viewer = self.server.viewer
        what = viewer.answers(self.headers.get("Host", ""), self.path)
        if what is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif what == "page":
            self._send_page(viewer.page())
        else:
            with viewer.watched(), contextlib.suppress(ConnectionError, TimeoutError):
                self._send_stream(viewer)

    def _send_page(self, page: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def _send_stream(self, viewer: Mjpeg) -> None:
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        number = 0
        while (found := viewer.newer_than(number)) is not None:
            number, jpeg = found
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """A library does not print."""
