"""Frames become H.264 or VP9, in segments that stand for themselves.

Each segment is encoded alone, by an encoder of its own, with no frame that refers to a later one:
so its packets are in the order of its frames, and `mien.video.join` can put segments together
packet by packet. The number of threads is fixed, since the encoder's result depends on it.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np

from mien.errors import RunError
from mien.video.containers import Container
from mien.video.frame import U8
from mien.video.pyav import pyav, reason, reformatter

THREADS = 4
BT709, LIMITED = 1, 1  # colour matrix and range (ITU-T H.273)


class Segment:
    """A run of frames, encoded; `finish` returns it as a small MP4 that begins at time 0.

    size: width and height in px. aspect: of a pixel, width over height.
    """

    def __init__(
        self,
        container: Container,
        size: tuple[int, int],
        time_base: Fraction,
        aspect: Fraction = Fraction(1),
    ) -> None:
        self._buffer = io.BytesIO()
        self._file = pyav().open(self._buffer, "w", format="mp4")
        self._stream = self._file.add_stream(container.codec, options=dict(container.options))
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._time_base = time_base
        context = self._stream.codec_context
        context.time_base, context.sample_aspect_ratio = time_base, aspect
        context.max_b_frames, context.thread_count = 0, THREADS
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._reformatter = reformatter()
        self._first: int | None = None
        self._finished = False

    def add(self, picture: U8, pts: int) -> None:  # [H, W, 3]
        """Encode a frame of the segment's size."""
        self._first = pts if self._first is None else self._first
        frame = self._reformatter.reformat(
            pyav().VideoFrame.from_ndarray(even(picture), "rgb24"),
            format="yuv420p",
            dst_colorspace=BT709,
            dst_color_range=LIMITED,
            interpolation="AREA",
            threads=1,
        )
        frame.pts, frame.time_base = pts - self._first, self._time_base
        self._encode(frame)

    def finish(self) -> bytes:
        """Return the file, as often as it is asked for. Nothing can be added afterwards."""
        if not self._finished:
            self._encode(None)
            self._file.close()
            self._finished = True
        return self._buffer.getvalue()

    def _encode(self, frame: Any) -> None:
        try:
            self._file.mux(self._stream.encode(frame))
        except pyav().error.FFmpegError as error:
            raise RunError(
                f"{self._stream.codec_context.name} refuses {self._stream.width} x "
                f"{self._stream.height} px: {reason(error)}",
                hint="Scale the frames: side=, --side",
            ) from error


def even(picture: U8) -> U8:  # [H, W, 3]
    """Repeat the last row and column where their number is odd: colours are stored for 2 x 2 px."""
    height, width = picture.shape[:2]
    if not height % 2 and not width % 2:
        return np.ascontiguousarray(picture)
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
