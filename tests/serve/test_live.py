"""Live sessions over a real WebSocket: frames, settings, reports, what goes wrong."""

from __future__ import annotations

import io
import struct
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tests.serve.running import API, PATIENCE_S, Running
from tests.serve.sockets import Closed, LiveClient

from mien.bundles import built_in
from mien.decode import load_bytes
from mien.studio import Studio
from mien.video.edit import Artist

pytestmark = pytest.mark.skipif("adain" not in built_in(), reason="mien comes without adain")


def frame(stamp: float, side: int = 64, seed: int = 0) -> bytes:
    """A frame as the page sends it."""
    y, x = np.mgrid[:side, :side] / side
    picture = np.stack([255 * x, 255 * y, np.full_like(x, 40 * (seed % 6))], 2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return struct.pack("<d", stamp) + buffer.getvalue()


def open_live(service: Running) -> LiveClient:
    return LiveClient(service.port, f"{API}/live")


@pytest.fixture(autouse=True)
def _all_places_free(service: Running) -> None:
    """The service has noticed that the sessions of the tests before are over."""
    all_over(service)


def all_over(service: Running) -> None:
    until = time.monotonic() + PATIENCE_S
    while service.service.live.sessions and time.monotonic() < until:
        time.sleep(0.02)
    assert service.service.live.sessions == 0


def test_a_frame_comes_back_drawn_with_its_stamp(service: Running, studio: Studio) -> None:
    sent = frame(7.5)
    with open_live(service) as live:
        live.send({"style": "waves", "smoothing": 0})
        live.send(sent)
        answer = live.frame()
    assert struct.unpack("<d", answer[:8]) == (7.5,)
    drawn, expected = load_bytes(answer[8:]), studio.stylize(load_bytes(sent[8:]), "waves").array
    assert drawn.shape == expected.shape
    assert np.abs(drawn.astype(int) - expected).mean() < 12  # JPEG


def test_settings_change_what_is_drawn(service: Running) -> None:
    with open_live(service) as live:
        live.send({"style": "waves", "strength": 1, "smoothing": 0})
        live.send(frame(1))
        full = load_bytes(live.frame()[8:]).astype(int)
        live.send({"style": "waves", "strength": 0, "smoothing": 0})
        live.send(frame(2))
        none = load_bytes(live.frame()[8:]).astype(int)
    assert np.abs(full - none).mean() > 10


def test_the_newest_frame_wins_and_the_others_are_dropped(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All frames come while the first that is drawn is being drawn."""
    all_came, draw = threading.Event(), service.service.live.draw

    def held(artist: Artist, jpeg: bytes, number: int) -> bytes:
        assert all_came.wait(PATIENCE_S)
        return draw(artist, jpeg, number)

    monkeypatch.setattr(service.service.live, "draw", held)
    with open_live(service) as live:
        live.send({"style": "waves"})
        for stamp in range(30):
            live.send(frame(stamp, seed=stamp))
        while live.told("report")["captured"] < 30:
            pass
        all_came.set()
        stamps = []
        while not stamps or stamps[-1] < 29:
            stamps.append(struct.unpack("<d", live.frame()[:8])[0])
        report = live.told("report")
    assert stamps == sorted(stamps)
    assert len(stamps) <= 2
    assert report["dropped"] == 30 - len(stamps)
    assert report["captured"] == 30
    assert report["draw_ms"]["p50"] > 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "DecodeError"),
        (b"12345678", "DecodeError"),
        (b"12345678 no picture at all", "UnsupportedFormat"),
        (frame(1)[:300], "TruncatedImage"),
        (frame(1, side=1100), "TooLarge"),
    ],
)
def test_a_frame_that_is_none_is_told_and_the_next_one_is_drawn(
    service: Running, data: bytes, code: str
) -> None:
    with open_live(service) as live:
        live.send({"style": "waves"})
        live.send(data)
        assert live.told("problem")["code"] == code
        assert live.frame() == data[:8]  # settled, with nothing to show
        live.send(frame(3))
        assert struct.unpack("<d", live.frame()[:8]) == (3.0,)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"style": 1}', '{"style": "waves", "x": 1}'])
def test_settings_that_are_none_are_told(service: Running, text: str) -> None:
    with open_live(service) as live:
        live.send_text(text)
        assert live.told("problem")["code"] == "InvalidRequest"


def test_an_unknown_style_is_told(service: Running) -> None:
    with open_live(service) as live:
        live.send({"style": "../../etc/passwd"})
        live.send(frame(1))
        assert live.told("problem")["code"] == "NotFound"


def test_a_session_too_many_is_turned_away_and_a_place_is_free_again(service: Running) -> None:
    limit = service.service.limits.live
    open_ones = [open_live(service) for _ in range(limit)]
    for one in open_ones:
        one.send({"style": "waves"})
        one.send(frame(1))
        one.frame()
    with open_live(service) as spare, pytest.raises(Closed) as closed:
        spare.receive()
    assert closed.value.code == 1013
    for one in open_ones:
        one.close()
    all_over(service)


def test_a_frame_beyond_the_limit_ends_the_session(service: Running) -> None:
    with open_live(service) as live:
        live.send({"style": "waves"})
        live.send(bytes(service.service.limits.frame_bytes + 1))  # the last of them is too much
        with pytest.raises((Closed, ConnectionError)) as closed:
            live.told("problem")
    if isinstance(closed.value, Closed):
        assert closed.value.code == 1009
