"""Viewers that keep what they see, and sources that go by what is done and not by the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tests.video.films import inverted

from mien.realtime import Discard, Synthetic
from mien.realtime.sources import LiveSource

U8 = NDArray[np.uint8]

LOOK_S = 0.01  # between two looks whether a run is over


class Watch(Discard):
    """Keeps what is shown; `until` pictures make it gone."""

    def __init__(self, until: int = 10**9) -> None:
        self.pictures: list[U8] = []
        self.closed = False
        self._until = until

    def show(self, picture: U8) -> None:
        self.pictures.append(picture.copy())

    def close(self) -> None:
        self.closed = True

    @property
    def gone(self) -> bool:  # type: ignore[override]
        return len(self.pictures) >= self._until


class Patient:
    """A source that gives a frame when the picture of the one before has been shown.

    So none is dropped, however the machine shares its time among the threads.
    """

    connected, outages = True, 0

    def __init__(self, source: LiveSource, watch: Watch) -> None:
        self.size = source.size
        self._source, self._watch, self._given = source, watch, 0

    def read(self, into: U8, stop: threading.Event) -> bool:
        while len(self._watch.pictures) < self._given:
            if stop.wait(LOOK_S / 10):
                return False
        self._given += 1
        return self._source.read(into, stop)

    def close(self) -> None:
        self._source.close()


class Hasty(Synthetic):
    """A source that never waits. begun: frames that it was asked for; all but the last are there.

    The number of a frame is written into its corner.
    """

    def __init__(self, *, side: int = 32) -> None:
        super().__init__(side=side, frames_per_second=None)
        self.begun = 0
        self._changed = threading.Condition()
        self._stop: threading.Event | None = None

    def read(self, into: U8, stop: threading.Event) -> bool:
        with self._changed:
            self.begun += 1
            self._stop = stop
            self._changed.notify_all()
        given = super().read(into, stop)
        into[0, 0] = np.frombuffer((self.begun - 1).to_bytes(3, "big"), np.uint8)
        return given

    def wait_for(self, begun: int) -> None:
        """Wait until it was asked for so many frames, or is stopped."""
        with self._changed:
            while self.begun < begun and not (self._stop and self._stop.is_set()):
                self._changed.wait(LOOK_S)


def overtaken(source: Hasty, by: int, note: Callable[[U8], object]) -> Callable[[U8], U8]:
    """An edit that takes as long as so many frames of a source; note: called as it begins."""

    def draw(picture: U8) -> U8:
        until = source.begun + by
        note(picture)
        source.wait_for(until)
        return inverted(picture)

    return draw


def number_of(frame: U8) -> int:
    """The number of a `Hasty` source's frame."""
    return int.from_bytes(frame[0, 0].tobytes(), "big")
