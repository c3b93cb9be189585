"""Capture, draw, show: three threads with queues of two between them, where the newest frame wins.

A slow edit makes fewer pictures, not later ones: what it has no time for is dropped at the queue
before it. Frames are captured into a few buffers that are used again and again, so that memory is
as large at the end as at the beginning.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.realtime.newest import DEPTH, Buffers, Newest
from mien.realtime.report import Ending, Meter, Report
from mien.realtime.sources import LiveSource
from mien.realtime.still import Stillness
from mien.realtime.viewers import Viewer
from mien.video.edit import Artist, Draw, FrameEdit, OnFailure, as_edit
from mien.video.frame import Frame

U8 = NDArray[np.uint8]
Watch = Callable[[float, float, int], object]

BUFFERS = DEPTH + 2  # those in the queue, one that is captured into, one that is drawn from
CLOCK = Fraction(1, 1_000_000)
PATIENCE_S = 0.25  # between two looks whether the run is to end
STILL = 2.0  # levels; see `Stillness`
SIGNAL_LOST = "no signal"


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame or its picture, and when the frame was taken, in seconds of `time.perf_counter`."""

    picture: U8
    taken: float


def run(
    source: LiveSource,
    edit: FrameEdit | Draw,
    viewer: Viewer,
    *,
    smoothing: float = 0.0,
    still: float = STILL,
    on_failure: OnFailure = "hold",
    seconds: float | None = None,
    stop: threading.Event | None = None,
    callback: Callable[[Report], object] | None = None,
    every: float = 1.0,
    watch: Watch | None = None,
) -> Report:
    """Show a source's frames, edited, until the source ends, the viewer is gone, or it is stopped.

    Args:
        source, viewer: from `open_source` and `open_viewer`; both are closed at the end.
        smoothing: against flicker, 0 to 1. on_failure: as `mien.video.edit.Artist` has them.
        still: frames that differ from the one drawn last by less than so many levels get its
            picture; 0 draws all.
        seconds: end after so many. stop: set this event to end.
        callback: called with a report every so many seconds, and at the end.
        watch: called with each picture that was shown: when, when its frame was taken (both in
            seconds of `time.perf_counter`), and how many frames had been dropped by then.

    The viewer is called from the thread that calls this. Ctrl-C ends all threads, too, and is then
    passed on.

    Raises StreamLost where the source is gone for good, and with on_failure "stop" what the edit
    raises.
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds is {seconds}, expected more than 0")
    artist = Artist(as_edit(edit), smoothing=smoothing, on_failure=on_failure)
    live = _Live(source, artist, Stillness(still), viewer, watch)
    return live.run(seconds, stop, callback, every)


class _Live:
    """A run: its threads, its queues, its meter."""

    def __init__(
        self,
        source: LiveSource,
        artist: Artist,
        stillness: Stillness,
        viewer: Viewer,
        watch: Watch | None,
    ) -> None:
        self._source, self._artist, self._viewer = source, artist, viewer
        self._stillness, self._watch = stillness, watch
        self._meter = Meter()
        self._buffers = Buffers(BUFFERS, source.size)
        self._captured: Newest[Shot] = Newest(lambda shot: self._buffers.give(shot.picture))
        self._drawn: Newest[Shot] = Newest(lambda shot: None)
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(
        self,
        seconds: float | None,
        stop: threading.Event | None,
        callback: Callable[[Report], object] | None,
        every: float,
    ) -> Report:
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._guarded, args=stage, name=f"mien {name}", daemon=True)
            for name, *stage in (
                ("capture", self._capture, self._captured),
                ("draw", self._draw, self._drawn),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            ended = self._show(began, seconds, stop, callback, every)
        finally:
            self._over.set()
            self._captured.close()
            for thread in threads:
                thread.join()
            self._source.close()
            self._viewer.close()
        if self._error is not None:
            raise self._error
        report = self._report(began, ended)
        if callback is not None:
            callback(report)
        return report

    def _guarded(self, work: Callable[[], None], output: Newest[Shot]) -> None:
        """Do a stage's work, keep its error for the caller, and tell the next stage of the end."""
        try:
            work()
        except BaseException as error:  # it belongs to the thread that called `run`
            self._error = self._error or error
        finally:
            output.close()

    def _capture(self) -> None:
        while True:
            buffer = self._buffers.take()
            if not self._source.read(buffer, self._over):
                return
            self._meter.count("captured")
            self._captured.put(Shot(buffer, time.perf_counter()))

    def _draw(self) -> None:
        picture: U8 | None = None
        number = 0
        while not self._over.is_set():
            shot = self._captured.take()
            if shot is None:
                return
            if self._stillness(shot.picture) and picture is not None:
                self._meter.count("reused")
            else:
                picture = self._picture(shot, number)
                number += 1
            self._buffers.give(shot.picture)
            self._drawn.put(Shot(picture, shot.taken))

    def _picture(self, shot: Shot, number: int) -> U8:
        began = time.perf_counter()
        at = round(shot.taken / CLOCK)
        picture, failure = self._artist.draw(Frame(shot.picture, number, at, 0, CLOCK))
        self._meter.time("draw", time.perf_counter() - began)
        self._meter.count("drawn" if failure is None else "failed")
        return picture

    def _show(
        self,
        began: float,
        seconds: float | None,
        stop: threading.Event | None,
        callback: Callable[[Report], object] | None,
        every: float,
    ) -> Ending:
        told = began
        latest: U8 | None = None
        while True:
            shot = self._drawn.take(PATIENCE_S)
            now = time.perf_counter()
            if shot is not None:
                latest = shot.picture
                self._viewer.show(latest)
                now_shown = time.perf_counter()
                self._meter.shown(now_shown, shot.taken)
                if self._watch is not None:
                    self._watch(now_shown, shot.taken, self._dropped())
            elif self._drawn.closed:
                return "source"
            elif latest is not None and not self._source.connected:
                self._viewer.show(lost(latest))
            if self._viewer.gone:
                return "viewer"
            if stop is not None and stop.is_set():
                return "stop"
            if seconds is not None and now - began >= seconds:
                return "seconds"
            if callback is not None and now - told >= every:
                callback(self._report(began, "running"))
                told = now

    def _report(self, began: float, ended: Ending) -> Report:
        passed = time.perf_counter() - began
        return self._meter.report(passed, self._dropped(), self._source.outages, ended)

    def _dropped(self) -> int:
        return self._captured.dropped + self._drawn.dropped


def lost(picture: U8) -> U8:  # [H, W, 3]
    """The last picture, dark, with the words that say so: it is not to be taken for a live one."""
    dark = np.ascontiguousarray(picture // 4)
    scale = picture.shape[1] / 320
    place = (picture.shape[1] // 16, picture.shape[0] // 2)
    cv2.putText(dark, SIGNAL_LOST, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2)
    return dark
