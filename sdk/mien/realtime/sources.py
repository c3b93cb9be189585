"""Where live frames come from: a camera, a file at its own speed, or a test picture.

A source fills buffers that it is given, RGB [H, W, 3], and waits until the next frame is due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import StreamLost
from mien.video import Frame, open_video
from mien.video.frame import scaled

U8 = NDArray[np.uint8]

BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)  # waits before each try to find a lost camera again
FROZEN_S = 5.0  # the same bits for so long are no picture of anything: a sensor has noise


class LiveSource(Protocol):
    """Something that gives frames when they are due.

    size: width and height in px. connected: False while it is lost and looked for.
    outages: how often it was lost and found.
    """

    size: tuple[int, int]
    connected: bool
    outages: int

    def read(self, into: U8, stop: threading.Event) -> bool:
        """Wait for the next frame and write it; False where there is none any more, or `stop` was
        set. Raises StreamLost."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def open_source(name: str | Path | int, *, side: int | None = 256) -> LiveSource:
    """Open a camera by its number, a file, or "synthetic".

    side: of the shorter side in px, to which frames are scaled; None leaves them as they are.

    Raises StreamLost where there is no such camera; what `mien.video.open_video` raises.
    """
    if name == "synthetic":
        return Synthetic(side=side or 256)
    return (
        Camera(int(str(name)), side=side) if str(name).isdigit() else Player(str(name), side=side)
    )


class Synthetic:
    """A test picture: coloured waves that move, and a disc that goes round.

    frames_per_second: None gives them as fast as they are taken. seconds: None never ends.
    noise: deviation in levels. still: nothing moves, the noise alone is new.
    """

    connected, outages = True, 0

    def __init__(
        self,
        *,
        side: int = 256,
        frames_per_second: float | None = 30.0,
        seconds: float | None = None,
        noise: float = 2.0,
        still: bool = False,
    ) -> None:
        self.size = (side, side)
        self._rate, self._still = frames_per_second, still
        self._left = None if seconds is None else round(seconds * (frames_per_second or 30.0))
        self._number = 0
        self._began: float | None = None
        rng = np.random.default_rng(0)
        # A sheet of noise is read at another place each time: new noise costs more than the rest.
        self._noise = (noise * rng.standard_normal((side + 64, side + 64, 3))).astype(np.float32)
        self._rng = rng

    def read(self, into: U8, stop: threading.Event) -> bool:
        if self._number == self._left or stop.is_set():
            return False
        now = time.perf_counter()
        self._began = now if self._began is None else self._began
        if self._rate is not None and stop.wait(
            max(0.0, self._began + self._number / self._rate - now)
        ):
            return False
        self._draw(into, 0 if self._still else self._number / 30)
        self._number += 1
        return True

    def close(self) -> None:
        pass

    def _draw(self, into: U8, t: float) -> None:
        side = self.size[0]
        x = np.linspace(0, 2 * np.pi, side, dtype=np.float32)
        row, column = np.sin(2 * x + t), np.cos(3 * x - 0.7 * t)
        picture = np.empty((side, side, 3), np.float32)
        for channel, (a, b) in enumerate(((50, 20), (25, 45), (40, -40))):
            picture[:, :, channel] = 128 + a * row[None] + b * column[:, None]
        middle = side * (0.5 + 0.3 * np.array([np.cos(t), np.sin(t)]))
        centre = (int(middle[0]), int(middle[1]))
        cv2.circle(picture, centre, side // 8, (235.0, 200.0, 60.0), -1, cv2.LINE_AA)
        top, left = self._rng.integers(0, 64, 2)
        picture += self._noise[top : top + side, left : left + side]
        np.copyto(into, picture.clip(0, 255), casting="unsafe")


class Player:
    """A video file or a GIF at its own speed: each frame comes when it is due."""

    connected, outages = True, 0

    def __init__(self, path: str | Path, *, side: int | None = 256) -> None:
        self._frames: Iterator[Frame] = open_video(path, side=side).frames()
        self._next: Frame | None = next(self._frames)
        self._first = self._next.seconds
        self._began: float | None = None
        self.size = (self._next.picture.shape[1], self._next.picture.shape[0])

    def read(self, into: U8, stop: threading.Event) -> bool:
        frame, now = self._next, time.perf_counter()
        if frame is None:
            return False
        self._began = now if self._began is None else self._began
        if stop.wait(max(0.0, self._began + frame.seconds - self._first - now)):
            return False
        np.copyto(into, frame.picture)
        self._next = next(self._frames, None)
        return True

    def close(self) -> None:
        self._frames.close()  # type: ignore[attr-defined]


class Camera:
    """A camera, by its number. A lost one is looked for with growing patience.

    opens: opens a capture device, for those that OpenCV does not know.

    Raises StreamLost where there is none.
    """

    def __init__(
        self,
        number: int,
        *,
        side: int | None = 256,
        opens: Callable[[int], Any] | None = None,
    ) -> None:
        self._number, self._opens = number, opens or cv2.VideoCapture
        self.connected, self.outages = True, 0
        self._capture = self._opens(number)
        first = self._grab()
        if first is None:
            self.close()
            raise StreamLost(
                f"camera {number} gives no picture",
                hint="Is it plugged in, and free? Another number, a file, or synthetic also work",
            )
        self.size = scaled(first.shape[1], first.shape[0], side)
        self._latest, self._changed_at = first, time.perf_counter()

    def read(self, into: U8, stop: threading.Event) -> bool:
        while not stop.is_set():
            frame = self._grab()
            if frame is None or self._is_frozen(frame):
                frame = self._found_again(stop)
            if frame is not None:
                self._write(frame, into)
                return True
        return False

    def close(self) -> None:
        self._capture.release()

    def _grab(self) -> U8 | None:
        """The next frame, BGR, or None."""
        try:
            done, frame = self._capture.read()
        except cv2.error:
            return None
        return frame if done and frame is not None and frame.size else None

    def _is_frozen(self, frame: U8) -> bool:
        now = time.perf_counter()
        if frame.shape == self._latest.shape and np.array_equal(frame, self._latest):
            return now - self._changed_at > FROZEN_S
        self._latest, self._changed_at = frame.copy(), now
        return False

    def _found_again(self, stop: threading.Event) -> U8 | None:
        """Look for the lost camera; None where `stop` was set. Raises StreamLost."""
        self.connected = False
        for wait in BACK_OFF_S:
            self._capture.release()
            if stop.wait(wait):
                return None
            self._capture = self._opens(self._number)
            frame = self._grab()
            if frame is not None and not np.array_equal(frame, self._latest):
                self.connected = True
                self.outages += 1
                self._latest, self._changed_at = frame.copy(), time.perf_counter()
                return frame
        raise StreamLost(
            f"camera {self._number} was lost, and not found again in {sum(BACK_OFF_S):.0f} s",
            hint="Plug it in again and start anew",
        )

    def _write(self, frame: U8, into: U8) -> None:
        if (frame.shape[1], frame.shape[0]) != self.size:
            frame = np.asarray(cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=into)
