"""A film of a search: the target on the left, and beside it what is found, as it sharpens.

GIF and WebP are written by Pillow, MP4 by PyAV where it is installed.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

import mien
from mien.animation import Animation
from mien.errors import InputError, MissingDependency
from mien.provenance import SYNTHETIC
from mien.whole_files import replacing

SUFFIXES = (".gif", ".webp", ".mp4")
LARGEST = 512  # px of a picture's side: larger ones are scaled down
FRAME_MS, LAST_MS = 100, 2000
MADE_BY = f"mien {mien.__version__}; {SYNTHETIC}"

U8 = NDArray[np.uint8]


class Trace:
    """Frames of a search, a row for each sample, written when the search is over.

    Args:
        path: FILE.gif, FILE.webp or FILE.mp4.
        targets: uint8 RGB [N, H, W, 3].

    Raises:
        InputError: another suffix. MissingDependency: an MP4 without PyAV.
    """

    def __init__(self, path: Path, targets: U8) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path.name}: a trace is not written as {path.suffix or 'a file without suffix'}",
                hint=f"Name it {', '.join(SUFFIXES)}",
            )
        if path.suffix.lower() == ".mp4":
            _pyav()
        self.path = path
        self.frames: list[U8] = []
        self._targets = _column(targets)

    def add(self, pictures: U8) -> None:  # [N, H, W, 3]
        """Add a frame: the targets, and beside each what is found."""
        self.frames.append(np.hstack([self._targets, _column(pictures)]))

    def write(self) -> Path:
        """Write the film; what stood there before stays until the new file is whole.

        Raises InputError where it cannot be written.
        """
        frames = [*self.frames, *[self.frames[-1]] * (LAST_MS // FRAME_MS - 1)]
        if self.path.suffix.lower() != ".mp4":
            film = Animation(np.stack(frames), 1000 / FRAME_MS, ("project",))
            return film.save(self.path)
        try:
            with replacing(self.path) as partial:
                _write_mp4(partial, frames)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror or error}",
                hint="Check the folder",
            ) from error
        return self.path


def _column(pictures: U8) -> U8:  # [N, H, W, 3] -> [N h, w, 3], even sizes
    """Lay pictures one below the other, scaled down where they are large."""
    side = min(LARGEST, pictures.shape[1])
    if side == pictures.shape[1]:
        return np.concatenate(list(pictures))
    scaled = [Pillow.fromarray(p).resize((side, side), Pillow.Resampling.BOX) for p in pictures]
    return np.concatenate([np.asarray(p) for p in scaled])


def _write_mp4(partial: Path, frames: list[U8]) -> None:
    av = _pyav()
    with av.open(str(partial), "w", format="mp4") as film:
        film.metadata["comment"] = MADE_BY
        stream = film.add_stream("h264", rate=Fraction(1000, FRAME_MS))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode())


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependency(
            "a trace as .mp4 needs PyAV",
            hint="Type: pip install av, or name a .gif or .webp",
        ) from error
    return av
