"""Live pictures: what is dropped, what is not, and how it ends."""

from __future__ import annotations

import http.client
import sys
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.realtime.watching import Hasty, Patient, Watch, number_of, overtaken
from tests.video.films import Film, inverted, make, scene

from mien.errors import (
    BackendUnavailable,
    DecodeError,
    InputError,
    MissingDependency,
    NotFinite,
    StreamLost,
)
from mien.realtime import (
    Camera,
    Discard,
    Mjpeg,
    Player,
    Report,
    Synthetic,
    VirtualCamera,
    Window,
    open_source,
    open_viewer,
    run,
    sources,
)
from mien.realtime.newest import Newest
from mien.realtime.pipeline import lost
from mien.realtime.report import KEPT, Meter, Spread
from mien.realtime.still import Stillness

U8 = NDArray[np.uint8]

CEILING_S = 120.0  # of what ends by itself, long before


OTHERS: set[threading.Thread] = set()  # that ran before a test, such as those of a service


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def stages() -> list[str]:
    started = [thread for thread in threading.enumerate() if thread not in OTHERS]
    return [thread.name for thread in started if thread.name.startswith("mien ")]


def slow(seconds: float) -> Callable[[U8], U8]:
    def draw(picture: U8) -> U8:
        time.sleep(seconds)
        return inverted(picture)

    return draw


def test_a_queue_keeps_two_and_gives_the_newest() -> None:
    forgotten: list[int] = []
    queue: Newest[int] = Newest(forgotten.append)
    for i in range(5):
        queue.put(i)
        assert len(queue) <= 2
    assert queue.take() == 4
    assert forgotten == [0, 1, 2, 3]
    assert queue.dropped == 4
    assert queue.take(0.01) is None
    queue.put(5)
    queue.close()
    assert not queue.closed
    assert queue.take() == 5
    assert queue.take() is None
    assert queue.closed


def test_each_picture_is_the_edit_of_its_frame(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=range(0, 20 * 3000, 3000)))
    watch = Watch()
    report = run(Patient(Player(source, side=None), watch), inverted, watch, still=0)
    assert report.ended == "source"
    assert report.captured == report.drawn == report.shown == len(watch.pictures) == 20
    assert report.dropped == 0
    for i, picture in enumerate(watch.pictures):
        assert np.abs(picture + scene(i).astype(int) - 255).mean() < 4
    assert watch.closed
    assert stages() == []


def test_a_slow_edit_drops_frames_and_holds_no_more_of_them() -> None:
    """While the edit is at one frame the source gives ten more."""
    watch = Watch(until=12)
    source = Hasty(side=64)
    tracemalloc.start()
    half: list[int] = []

    def look(report: Report) -> None:
        half.append(tracemalloc.get_traced_memory()[0])

    edit = overtaken(source, 10, note=id)
    report = run(source, edit, watch, still=0, callback=look, every=0)
    tracemalloc.stop()
    assert report.ended == "viewer"
    assert report.captured > 3 * report.drawn
    # All that was captured was shown, dropped before or after it was drawn, or is on its way: two
    # in each queue, and one at each of the three stages.
    assert 0 <= report.captured - report.shown - report.dropped <= 7
    frame = 64 * 64 * 3
    assert half[-1] - half[1] < 12 * frame + 100_000  # what `watch` keeps, and little else


def test_the_age_of_what_is_shown_does_not_grow_with_the_backlog() -> None:
    """Of what is drawn the frame was taken while the one before was drawn, however many came."""
    source, watch, taken_at = Hasty(), Watch(until=20), []
    began: list[tuple[int, int, float]] = []  # of each edit: its frame, frames so far, the time

    def note(frame: U8) -> None:
        began.append((number_of(frame), source.begun, time.perf_counter()))

    report = run(
        source, overtaken(source, 30, note), watch, still=0,
        watch=lambda now, taken, dropped: taken_at.append(taken),
    )  # fmt: skip
    assert report.captured > 500
    for (_, so_far, _), (number, _, _) in pairwise(began):
        assert number >= so_far + 28  # but for the two latest, all that came meanwhile were passed
    edits = [number for number, _, _ in began]
    for picture, taken in zip(watch.pictures, taken_at, strict=True):
        edit = edits.index(number_of(255 - picture))
        assert edit == 0 or taken >= began[edit - 1][2]


def test_buffers_of_frames_are_used_again() -> None:
    seen: set[int] = set()

    def note(picture: U8) -> U8:
        seen.add(picture.__array_interface__["data"][0])
        return inverted(picture)

    report = run(Synthetic(side=32, frames_per_second=400), note, Watch(until=25), still=0)
    assert report.drawn > 20
    assert len(seen) <= 4


def test_an_edit_may_return_its_frame(tmp_path: Path) -> None:
    """The frame's memory is filled again while its picture is shown."""
    first: list[U8] = []

    class Keeps(Watch):
        def show(self, picture: U8) -> None:
            first.append(picture)
            super().show(picture)

    keeps = Keeps(until=8)
    run(Synthetic(side=32, frames_per_second=200), lambda picture: picture, keeps, still=0)
    for held, copied in zip(first, keeps.pictures, strict=True):
        np.testing.assert_array_equal(held, copied)


def test_still_frames_are_not_drawn_again() -> None:
    watch = Watch()
    still = Synthetic(side=256, frames_per_second=None, seconds=0.8, noise=1, still=True)
    report = run(Patient(still, watch), inverted, watch)
    assert (report.drawn, report.reused) == (1, 23)
    watch = Watch()
    moving = Synthetic(side=96, frames_per_second=None, seconds=1.3)
    report = run(Patient(moving, watch), inverted, watch)
    assert report.drawn > report.reused


def test_slow_changes_add_up_and_small_things_that_move_are_seen(rng: np.random.Generator) -> None:
    still = Stillness(2.0)
    grey = np.full((96, 96, 3), 100.0)
    found = [still((grey + 0.4 * i).round().astype(np.uint8)) for i in range(20)]
    assert 3 <= found.count(False) <= 6
    spot = np.full((96, 96, 3), 108, np.uint8)
    still(spot)
    assert still(spot)
    moved = spot.copy()
    moved[40:44, 40:44] = 160
    assert not still(moved)
    assert not Stillness(0)(spot)
    noise = Stillness(2.0)
    frames = (100 + 2 * rng.standard_normal((6, 256, 256, 3))).round().astype(np.uint8)
    assert [noise(frame) for frame in frames] == [False, *[True] * 5]


def test_stopping_ends_within_a_frame_and_leaves_no_thread() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    watch = Watch()
    report = run(Synthetic(side=32), slow(0.01), watch, stop=stop, still=0)
    assert report.ended == "stop"
    assert watch.closed
    assert stages() == []


def test_ctrl_c_ends_all_threads_and_is_passed_on() -> None:
    class Interrupts(Watch):
        def show(self, picture: U8) -> None:
            raise KeyboardInterrupt

    viewer = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run(Synthetic(side=32), inverted, viewer)
    assert viewer.closed
    assert stages() == []


def failing(at: int) -> Callable[[U8], U8]:
    calls = iter(range(10**6))

    def draw(picture: U8) -> U8:
        if next(calls) == at:
            raise NotFinite("output holds NaN")
        return inverted(picture)

    return draw


def test_a_frame_that_fails_is_held_or_ends_the_run() -> None:
    watch = Watch()
    source = Synthetic(side=32, frames_per_second=None, seconds=0.3)
    report = run(Patient(source, watch), failing(3), watch, still=0)
    assert (report.drawn, report.failed) == (8, 1)
    np.testing.assert_array_equal(watch.pictures[3], watch.pictures[2])
    with pytest.raises(NotFinite, match="frame 3"):
        run(
            Synthetic(side=32), failing(3), Discard(),
            still=0, on_failure="stop", seconds=CEILING_S,
        )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        run(Synthetic(side=32), lambda picture: 1 // 0, Discard(), seconds=CEILING_S)
    assert stages() == []


class FakeCapture:
    """A camera that gives what a script says: a number is a frame, None is no picture."""

    def __init__(self, script: Iterator[int | None]) -> None:
        self._script = script
        self.released = False

    def read(self) -> tuple[bool, U8 | None]:
        value = next(self._script, None)
        if value is None:
            return False, None
        picture = np.zeros((24, 40, 3), np.uint8)
        picture[:, :, 0] = value  # blue
        return True, picture

    def release(self) -> None:
        self.released = True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BACK_OFF_S", (0.01, 0.02, 0.3))


def camera(*scripts: list[int | None]) -> tuple[Camera, list[FakeCapture]]:
    opened: list[FakeCapture] = []
    rest = iter(scripts)

    def opens(number: int) -> FakeCapture:
        opened.append(FakeCapture(iter(next(rest, []))))
        return opened[-1]

    return Camera(3, side=12, opens=opens), opened


def test_a_camera_is_scaled_and_its_colours_are_rgb() -> None:
    found, _ = camera([7, 8, 9])
    assert found.size == (20, 12)
    into = np.zeros((12, 20, 3), np.uint8)
    assert found.read(into, threading.Event())
    assert into[0, 0].tolist() == [0, 0, 8]


def test_a_lost_camera_is_found_again_with_patience(impatient: None) -> None:
    found, opened = camera([1, 2, None], [], [5, 6, None])
    into = np.zeros((12, 20, 3), np.uint8)
    seen = []
    for _ in range(3):
        assert found.read(into, threading.Event())
        seen.append(int(into[0, 0, 2]))
    assert seen == [2, 5, 6]
    assert (found.outages, found.connected) == (1, True)
    assert [capture.released for capture in opened] == [True, True, False]


def test_a_camera_that_is_gone_ends_the_run_and_nothing_is_repeated_silently(
    impatient: None,
) -> None:
    found, _ = camera([1, 2, 3, None])
    watch = Watch()
    with pytest.raises(StreamLost, match="camera 3 was lost, and not found again"):
        run(found, inverted, watch, still=0)
    # What is shown while it is looked for is dark and says so.
    last = [p for p in watch.pictures if p.max() < 255 or len(np.unique(p)) > 3]
    assert all(np.array_equal(p, lost(watch.pictures[0])) or p.mean() > 100 for p in last)


def test_no_signal_is_written_over_a_dark_picture() -> None:
    shown = lost(np.full((96, 128, 3), 200, np.uint8))
    assert np.median(shown) == 50
    assert shown.max() == 255


def test_a_frozen_camera_is_lost(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FROZEN_S", 0.05)
    found, _ = camera([4] * 100_000, [4] * 5, [9, 10])
    into = np.zeros((12, 20, 3), np.uint8)
    while int(into[0, 0, 2]) != 9:
        assert found.read(into, threading.Event())
    assert found.outages == 1


def test_without_a_camera_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StreamLost, match="camera 3 gives no picture"):
        camera([None])
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCapture(iter([None])))
    with pytest.raises(StreamLost, match="camera 7 gives no picture"):
        open_source(7)


def test_a_player_keeps_to_the_times_of_its_file(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=(0, 3000, 6000, 15000)))
    player = Player(source, side=24)
    assert player.size == (32, 24)
    into, stop, at = np.zeros((24, 32, 3), np.uint8), threading.Event(), []
    began = time.perf_counter()
    while player.read(into, stop):
        at.append(time.perf_counter())
    assert (np.array(at) - began >= np.array([0, 0.1, 0.2, 0.5]) - 0.001).all()  # never early
    player.close()
    with pytest.raises(DecodeError):
        open_source(tmp_path / "none.mp4")


def get(where: str, path: str | None = None, host: str | None = None) -> http.client.HTTPResponse:
    parts = urlsplit(where)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CEILING_S)
    connection.request(
        "GET", parts.path if path is None else path, headers={"Host": host or parts.netloc}
    )
    return connection.getresponse()


def jpeg_of(stream: http.client.HTTPResponse) -> U8:
    length = 0
    while line := stream.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    picture = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
    stream.readline()
    return np.asarray(picture, np.uint8)[:, :, ::-1]


def test_a_browser_sees_the_newest_picture_and_others_see_nothing() -> None:
    viewer = Mjpeg(linger=0.2)
    try:
        page = get(viewer.where)
        assert page.status == 200
        assert b"/stream" in page.read()
        for path, host in (("/", None), ("/stream", None), (None, "evil.example")):
            assert get(viewer.where, path, host).status == 404
        assert not viewer.gone
        viewer.show(np.full((16, 24, 3), (250, 10, 10), np.uint8))
        stream = get(viewer.where, urlsplit(viewer.where).path + "stream")
        assert "multipart/x-mixed-replace" in stream.headers["Content-Type"]
        assert np.abs(jpeg_of(stream).astype(int) - (250, 10, 10)).mean() < 6
        for level in range(0, 200, 20):
            viewer.show(np.full((16, 24, 3), level, np.uint8))
        found = [jpeg_of(stream).mean()]
        while abs(found[-1] - 180) > 3:
            found.append(jpeg_of(stream).mean())
        assert found == sorted(found)
        stream.close()
        until = time.monotonic() + CEILING_S
        while not viewer.gone and time.monotonic() < until:
            viewer.show(np.zeros((16, 24, 3), np.uint8))  # the handler notices at a picture
            time.sleep(0.02)
        assert viewer.gone
    finally:
        viewer.close()


def test_a_page_that_is_left_ends_the_run() -> None:
    viewer = Mjpeg(linger=0.1)

    def look() -> None:
        stream = get(viewer.where, urlsplit(viewer.where).path + "stream")
        jpeg_of(stream)
        stream.close()

    threading.Timer(0.2, look).start()
    report = run(Synthetic(side=32), inverted, viewer, still=0, seconds=CEILING_S)
    assert report.ended == "viewer"
    assert stages() == []


def test_a_port_that_is_taken_is_said() -> None:
    viewer = Mjpeg()
    try:
        with pytest.raises(BackendUnavailable, match="cannot be used"):
            Mjpeg(urlsplit(viewer.where).port or 0)
    finally:
        viewer.close()


def test_a_window_needs_a_display_and_an_opencv_with_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(BackendUnavailable, match=r"no display.*--view http"):
        Window()
    monkeypatch.setenv("DISPLAY", ":0")

    def refuses(*_: object) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuses)
    with pytest.raises(BackendUnavailable, match="has no windows"):
        Window()


@pytest.mark.parametrize(("key", "visible"), [(ord("q"), 1.0), (27, 1.0), (-1, 0.0)])
def test_a_closed_window_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float
) -> None:
    shown: list[U8] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda _, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", lambda _: key if len(shown) > 3 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible if len(shown) > 3 else 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)

    def red(picture: U8) -> U8:
        return np.full_like(picture, (255, 0, 0))

    report = run(
        Synthetic(side=32), red, open_viewer("window", (32, 32)), still=0, seconds=CEILING_S
    )
    assert report.ended == "viewer"
    assert shown[0][0, 0].tolist() == [0, 0, 255]  # OpenCV's order


def test_a_virtual_camera_gets_each_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingDependency, match="pip install pyvirtualcam"):
        VirtualCamera((32, 32), 30)
    sent: list[U8] = []

    class Device:
        device = "/dev/video9"

        def __init__(self, width: int, height: int, fps: float) -> None:
            if width == 1:
                raise RuntimeError("no device")

        def send(self, picture: U8) -> None:
            sent.append(picture)

        def close(self) -> None:
            sent.append(np.zeros(0, np.uint8))

    monkeypatch.setitem(sys.modules, "pyvirtualcam", types.SimpleNamespace(Camera=Device))
    with pytest.raises(BackendUnavailable, match=r"no virtual camera: no device.*v4l2loopback"):
        VirtualCamera((1, 1), 30)
    viewer = open_viewer("virtual", (32, 32))
    assert viewer.where == "the camera /dev/video9"
    report = run(Synthetic(side=32, seconds=0.2), inverted, viewer, still=0)
    assert len(sent) == report.shown + 1


def test_percentiles_are_those_of_the_latest_times(rng: np.random.Generator) -> None:
    meter = Meter()
    times = rng.exponential(0.02, 3 * KEPT)
    for seconds in times:
        meter.time("draw", seconds)
    found = meter.report(1.0, 0, 0, "running").draw_ms
    wanted = 1e3 * np.percentile(times[-KEPT:], (50, 95, 99))
    np.testing.assert_allclose((found.p50, found.p95, found.p99), wanted, atol=1e-3)
    assert Spread.of([]) == Spread(0, 0, 0)


def test_frames_a_second_and_ages_are_counted_from_what_is_shown() -> None:
    meter = Meter()
    for i in range(11):
        meter.shown(100 + 0.04 * i, 100 + 0.04 * i - 0.03)
    report = meter.report(9.0, 2, 1, "source")
    assert report.fps == pytest.approx(25)
    assert report.frame_ms.p50 == pytest.approx(40)
    assert report.age_ms.p99 == pytest.approx(30)
    assert "25.0 fps" in report.line()
    assert report.record()["dropped"] == 2


def test_wrong_arguments_are_said() -> None:
    with pytest.raises(InputError, match="there is no viewer 'wall'"):
        open_viewer("wall", (8, 8))
    with pytest.raises(InputError, match="seconds is -1"):
        run(Synthetic(), inverted, Discard(), seconds=-1)
