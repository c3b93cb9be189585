"""Where live pictures go: a window, a virtual camera, a browser, or nowhere."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import BackendUnavailable, InputError, MissingDependency
from mien.realtime.mjpeg import Mjpeg

__all__ = ["Discard", "Mjpeg", "Viewer", "VirtualCamera", "Window", "open_viewer"]

U8 = NDArray[np.uint8]

TITLE = "mien"
CLOSING = (ord("q"), 27)  # keys: q, Escape
VIEWERS = ("window", "http", "virtual", "none")


class Viewer(Protocol):
    """Something that shows pictures.

    gone: nobody looks any more. where: what to tell a person who wants to look.
    """

    where: str

    @property
    def gone(self) -> bool: ...

    def show(self, picture: U8) -> None:
        """Show a picture, RGB [H, W, 3], until the next one."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def open_viewer(
    name: str, size: tuple[int, int], *, port: int = 0, frames_per_second: float = 30.0
) -> Viewer:
    """Open a viewer: "window", "http", "virtual" or "none".

    size: of the pictures, width and height in px. port: of http; 0 takes a free one.
    frames_per_second: that a virtual camera states.

    Raises InputError for another name, BackendUnavailable or MissingDependency where this machine
    has none.
    """
    if name == "window":
        return Window()
    if name == "http":
        return Mjpeg(port)
    if name == "virtual":
        return VirtualCamera(size, frames_per_second)
    if name == "none":
        return Discard()
    raise InputError(f"there is no viewer {name!r}", hint=f"Name one: {', '.join(VIEWERS)}")


class Discard:
    """Shows nothing, for measuring."""

    where, gone = "no viewer", False

    def show(self, picture: U8) -> None:
        pass

    def close(self) -> None:
        pass


class Window:
    """A window of OpenCV, which q, Escape or its own button closes. Use it from the main thread.

    Raises BackendUnavailable without a display, or with an OpenCV that has no windows.
    """

    where = "a window; q closes it"

    def __init__(self) -> None:
        displays = ("DISPLAY", "WAYLAND_DISPLAY")
        if sys.platform.startswith("linux") and not any(os.environ.get(d) for d in displays):
            raise BackendUnavailable("there is no display", hint="Type --view http")
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
        except cv2.error as error:
            raise BackendUnavailable(
                "this OpenCV has no windows",
                hint="Type --view http, or: pip install opencv-python in place of the headless one",
            ) from error
        self.gone = False

    def show(self, picture: U8) -> None:
        cv2.imshow(TITLE, picture[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        self.gone = key in CLOSING or closed

    def close(self) -> None:
        cv2.destroyAllWindows()


class VirtualCamera:
    """A camera that other programs can choose: v4l2loopback on Linux, OBS elsewhere.

    Raises MissingDependency without pyvirtualcam, BackendUnavailable without such a device.
    """

    gone = False

    def __init__(self, size: tuple[int, int], frames_per_second: float) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise MissingDependency(
                "a virtual camera needs pyvirtualcam", hint="Type: pip install pyvirtualcam"
            ) from error
        try:
            self._camera: Any = pyvirtualcam.Camera(*size, frames_per_second)
        except RuntimeError as error:
            raise BackendUnavailable(
                f"there is no virtual camera: {' '.join(str(error).split())}",
                hint="On Linux: sudo modprobe v4l2loopback; elsewhere start OBS once",
            ) from error
        self.where = f"the camera {self._camera.device}"

    def show(self, picture: U8) -> None:
        self._camera.send(picture)

    def close(self) -> None:
        self._camera.close()
