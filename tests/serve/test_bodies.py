"""Rows S2, S3 and S5: what is sent, how large, how slowly, and in which disguise."""

from __future__ import annotations

import contextlib
import io
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serve.running import API, PATIENCE_S, Running, running
from tests.serve.sockets import answer_to, rest_of

from mien.serve.limits import Limits
from mien.studio import Studio

SMALL = Limits(body_bytes=1 << 20, json_bytes=4096, read_s=PATIENCE_S, pixels=2_000_000)
HASTY = replace(SMALL, read_s=1.5)
KIND = {"Content-Type": "image/jpeg"}
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def small(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for small bodies."""
    with running(studio, tmp_path_factory.mktemp("jobs"), limits=SMALL) as one:
        yield one


@pytest.fixture(scope="module")
def hasty(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of little patience; whoever pauses between two requests finds it gone."""
    with running(studio, tmp_path_factory.mktemp("jobs"), limits=HASTY) as one:
        yield one


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def head(*lines: str, path: str = f"{API}/photos") -> bytes:
    first = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/jpeg")
    return "\r\n".join((*first, *lines, "", "")).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def connected(service: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def begun(service: Running) -> socket.socket:
    """A connection with the beginning of a request."""
    one = connected(service)
    trickle(one, b"GET / HT")
    return one


def trickle(one: socket.socket, data: bytes) -> None:
    """Send a little; the service may have closed the connection meanwhile."""
    with contextlib.suppress(OSError):
        one.sendall(data)


def closed(one: socket.socket) -> bool:
    """Whether the service has closed a connection, on which it said nothing."""
    try:
        return one.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(small: Running) -> None:
    answer = answer_to(small.port, head("Content-Length: 1000000000"))
    assert status_of(answer) == 413
    assert b"BodyTooLarge" in answer
    assert b"connection: close" in answer.lower()


def test_a_body_without_a_length_that_never_ends_is_cut_off_in_flat_memory(small: Running) -> None:
    before = resident_mb()
    part = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    with connected(small) as one:
        one.sendall(head("Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):  # reset or broken, as the machine has it
            while sent < 256 << 20:
                one.sendall(part)
                sent += len(part)
    assert sent < 64 << 20
    assert resident_mb() - before < 48


def test_of_json_less_is_read_than_of_pictures(small: Running) -> None:
    long = b'{"seed": 1' + b" " * SMALL.json_bytes + b"}"
    json_kind = {"Content-Type": "application/json"}
    refused = small.client.post(f"{API}/samples", content=long, headers=json_kind)
    assert refused.status_code == 413
    assert refused.json()["hint"]


def test_senders_of_a_byte_now_and_then_are_closed_and_others_are_served(hasty: Running) -> None:
    slow = [begun(hasty) for _ in range(50)]
    left, until = set(slow), time.monotonic() + PATIENCE_S
    while left and time.monotonic() < until:
        left = {one for one in left if not closed(one)}
        for one in left:
            trickle(one, b"T")
        assert status_of(answer_to(hasty.port, HEALTH)) == 200
        time.sleep(0.1)
    assert not left
    for one in slow:
        one.close()


def test_a_connection_that_is_kept_open_without_a_request_is_closed(hasty: Running) -> None:
    with connected(hasty) as one:
        one.sendall(HEALTH.replace(b"close", b"keep-alive"))
        while b"}" not in one.recv(65536):
            pass
        letters, until = cycle(b"GET /health"), time.monotonic() + PATIENCE_S
        while not closed(one) and time.monotonic() < until:
            trickle(one, bytes([next(letters)]))
            time.sleep(0.1)
        assert closed(one)


def test_a_body_that_trickles_in_is_answered_with_408(hasty: Running) -> None:
    with connected(hasty) as one:
        one.sendall(head("Content-Length: 100000"))
        until = time.monotonic() + PATIENCE_S
        while not select.select([one], [], [], 0.05)[0] and time.monotonic() < until:
            trickle(one, b"x")
        answer = rest_of(one)
    assert status_of(answer) == 408
    assert b"TooSlow" in answer


def test_a_sender_that_vanishes_in_the_middle_leaves_nothing_behind(small: Running) -> None:
    for _ in range(20):
        with connected(small) as one:
            one.sendall(head("Content-Length: 100000") + bytes(5000))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert small.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 2000 + b"]" * 2000, 422),
        (b"null", 422),
        (b'{"seed": NaN}', 422),
        (b'{"seed": 1e400}', 422),
        (b'{"seed": -1}', 422),
        (b'{"seed": 1, "more": 1}', 422),
    ],
)
def test_json_that_is_none_or_says_nothing_is_refused(
    small: Running, content: bytes, status: int
) -> None:
    sent = small.client.post(
        f"{API}/samples", content=content, headers={"Content-Type": "application/json"}
    )
    assert sent.status_code in (status, 400)
    assert set(sent.json()) == {"code", "message", "hint"}


def test_json_ten_thousand_deep_is_refused(service: Running) -> None:
    deep = b'{"seed":' * 10_000 + b"1" + b"}" * 10_000
    json_kind = {"Content-Type": "application/json"}
    refused = service.client.post(f"{API}/samples", content=deep[: 60 << 10], headers=json_kind)
    assert refused.status_code in (400, 413, 422)
    whole = b"[" * 10_000 + b"]" * 10_000
    refused = service.client.post(f"{API}/samples", content=whole, headers=json_kind)
    assert refused.status_code in (400, 422)


@pytest.mark.parametrize("where", ["photos", "styles"])
def test_multipart_with_ten_thousand_parts_is_not_opened(small: Running, where: str) -> None:
    parts = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 10_000 + b"--x--"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    refused = small.client.post(f"{API}/{where}", content=parts, headers=kind)
    assert refused.status_code == 415
    assert refused.json()["code"] == "WrongType"


DISGUISED = {
    "a page": (b"<!DOCTYPE html><script>alert(1)</script>", 415),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415),
    "a GIF that is a script": (b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)", 415),
    "PDF": (b"%PDF-1.7 " + bytes(40), 415),
    "a cut JPEG": (b"\xff\xd8\xff\xe0" + bytes(40), 422),
    "nothing": (b"", 422),
    "noise": (bytes(range(256)) * 8, 415),
}


@pytest.mark.parametrize("disguise", DISGUISED)
def test_what_is_no_picture_is_told_by_its_bytes(small: Running, disguise: str) -> None:
    content, status = DISGUISED[disguise]
    refused = small.client.post(f"{API}/photos", content=content, headers=KIND)
    assert refused.status_code == status, refused.text
    assert refused.json()["message"]


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(small: Running) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = 30_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20))
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    before = resident_mb()
    refused = small.client.post(
        f"{API}/photos", content=bomb, headers={"Content-Type": "image/png"}
    )
    assert refused.status_code == 413
    assert refused.json()["code"] == "TooLarge"
    assert resident_mb() - before < 50


def test_a_picture_without_a_face_says_so(small: Running) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((200, 300, 3), 128, np.uint8)).save(buffer, "PNG")
    refused = small.client.post(
        f"{API}/photos", content=buffer.getvalue(), headers={"Content-Type": "image/png"}
    )
    assert refused.status_code == 422
    assert refused.json()["code"] == "NoFace"
    assert "300 x 200 px" in refused.json()["message"]
