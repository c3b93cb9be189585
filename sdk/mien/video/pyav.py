"""PyAV, loaded when a video is opened, and its errors as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.decode import shown
from mien.errors import DecodeError, MissingDependency

# Containers of one file. Playlists are not among them: they open other files and addresses.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv",
    "asf", "ogg", "mxf", "nut",
)  # fmt: skip


def pyav() -> Any:
    """Return the module `av`. Raises MissingDependency."""
    try:
        import av
    except ImportError as error:
        raise MissingDependency(
            "video needs PyAV", hint="Type: pip install 'mien[video]'"
        ) from error
    return av


def reformatter() -> Any:
    """Return what converts frames, to be kept: a new one a frame costs ten milliseconds.

    Call it with threads=1: for small frames starting threads takes longer than the work.
    """
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video file for reading, and nothing but that file.

    Raises DecodeError where it is not one that can be read.
    """
    av = pyav()
    allowed = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    try:
        with path.open("rb") as file, av.open(file, container_options=allowed) as container:
            yield container
    except av.error.FFmpegError as error:
        raise DecodeError(
            f"{shown(path)} is no video that can be read: {reason(error)}",
            hint="Copy or download it again, or convert it to .mp4",
        ) from error
    except (OSError, ValueError) as error:
        raise DecodeError(
            f"{shown(path)} cannot be read: {reason(error)}", hint="Check the path"
        ) from error


def reason(error: BaseException) -> str:
    """What a library says went wrong, on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__
