"""A film as a work: a clip with sound is drawn, made into a film again and again, and held against
what it was made from."""

from __future__ import annotations

import math
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.bench.report import Accuracy
from mien.errors import RunError
from mien.video import FrameEdit, convert, open_video
from mien.video.pyav import opened, pyav, reason

U8 = NDArray[np.uint8]

FRAMES = 24
CLOCK = Fraction(1, 30000)  # seconds
STEPS = (
    1001,
    1001,
    2002,
)  # of the clock, from a frame to the next: 29.97 fps, each third frame lost
PAN = 2  # px from a frame to the next
ROOM = PAN * (FRAMES - 1)  # px that a photograph has to have beside a frame
LOOKED_AT = range(0, FRAMES, 4)  # frames whose pictures are compared: all would fill the memory
SAMPLES, RATE, PITCH = 1024, 48000, 440  # of a block of sound; a second; Hz
CLIP = {"preset": "veryfast", "crf": "12"}


class Reel:
    """Makes a film of a clip; a call returns when each of its frames was done, in seconds.

    photo: RGB [side + ROOM, side + ROOM, 3], over which the clip pans; side is even.

    Inside `with` there is a clip, in a folder that nobody else can read and that is then removed.
    """

    def __init__(self, edit: FrameEdit, photo: U8) -> None:
        self._edit, self._photo = edit, photo
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="mien-bench-")
        except OSError as error:
            raise RunError(
                f"there is no place for a clip: {reason(error)}", hint="Name one: TMPDIR=FOLDER"
            ) from error
        try:
            draw_clip(self.source, self._photo)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._folder is not None
        self._folder.cleanup()

    @property
    def source(self) -> Path:
        return self._path("clip.mp4")

    @property
    def output(self) -> Path:
        return self._path("film.mp4")

    def __call__(self) -> list[float]:
        """Decode, edit and encode every frame, and copy the sound, as `mien video` does."""
        moments: list[float] = []
        convert(
            self.source,
            self.output,
            self._edit,
            restart=True,
            callback=lambda _: moments.append(time.perf_counter()),
        )
        return moments

    def shown(self) -> list[U8]:
        """Frames of the film that was made last: those that are looked at.

        Raises RunError where its frames, their times or its sound are not the clip's.
        """
        (source, _), (output, pictures) = _times(self.source), _times(self.output)
        if len(source) != len(output):
            raise RunError(f"the film has {len(output)} frames, its clip {len(source)}")
        for i, (before, after) in enumerate(zip(source, output, strict=True)):
            if before != after:
                raise RunError(
                    f"frame {i} of the film is shown at {float(after):.6f} s, in its clip at "
                    f"{float(before):.6f} s"
                )
        if _sound(self.source) != _sound(self.output):
            raise RunError("the film's sound is not its clip's, packet by packet")
        return pictures

    def drawn(self) -> list[U8]:
        """The same frames as the edit draws them, before they are encoded."""
        return [self._edit.draw(picture) for picture in _times(self.source)[1]]

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / name


def film_accuracy(shown: list[U8], drawn: list[U8]) -> Accuracy:
    """How far a film is from the reference's frames before they are encoded: its codec's loss, and
    what its backend draws otherwise."""
    squares = np.mean([_squares(one, two) for one, two in zip(shown, drawn, strict=True)])
    psnr = f"PSNR {10 * np.log10(255**2 / squares):.1f} dB" if squares else "equal"
    return Accuracy(
        measure="root mean square difference from the reference's frames before they are encoded, "
        "as a part of 255",
        value=float(np.sqrt(squares)) / 255,
        detail=f"{psnr}; {FRAMES} frames at their times, sound as it was",
    )


def _squares(shown: U8, drawn: U8) -> float:
    """The mean square difference, without the row and the column that even sides may have added."""
    height, width = drawn.shape[:2]
    return float(np.square(shown[:height, :width].astype(np.float64) - drawn).mean())


def draw_clip(path: Path, photo: U8) -> None:
    """Write a clip of FRAMES frames at a varying rate, with a tone.

    Raises RunError where it cannot be written, MissingDependency without PyAV.
    """
    av, side = pyav(), photo.shape[0] - ROOM
    clock = math.lcm(CLOCK.denominator, RATE)  # of the edit lists: in ms they would be rounded
    try:
        with av.open(str(path), "w", container_options={"movie_timescale": str(clock)}) as file:
            film = file.add_stream("libx264", options=CLIP)
            film.width = film.height = side
            film.pix_fmt = "yuv420p"
            film.time_base = film.codec_context.time_base = CLOCK
            track = file.add_stream("aac", rate=RATE)
            track.layout = "mono"
            pts = 0
            for i in range(FRAMES):
                window = photo[ROOM // 2 :, PAN * i :][:side, :side]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(window), "rgb24")
                frame.pts, frame.time_base = pts, CLOCK
                file.mux(film.encode(frame))
                pts += STEPS[i % len(STEPS)]
            file.mux(film.encode())
            for block in range(round(pts * CLOCK * RATE) // SAMPLES):
                file.mux(track.encode(_tone(block)))
            file.mux(track.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise RunError(
            f"a clip of {side} px cannot be written to {path.parent}: {reason(error)}",
            hint="Check the free space of the temporary folder",
        ) from error


def _tone(block: int) -> Any:
    av = pyav()
    moments = (SAMPLES * block + np.arange(SAMPLES)) / RATE
    wave = (0.1 * np.sin(2 * np.pi * PITCH * moments)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, SAMPLES * block, Fraction(1, RATE)
    return frame


def _times(path: Path) -> tuple[list[Fraction], list[U8]]:
    """When the frames of a film are shown, in seconds, and those that are looked at."""
    moments, pictures = [], []
    for frame in open_video(path).frames():
        moments.append(frame.pts * frame.time_base)
        if frame.index in LOOKED_AT:
            pictures.append(frame.picture)
    return moments, pictures


def _sound(path: Path) -> list[tuple[Fraction, bytes]]:
    """The packets of a film's sound, with their times in seconds."""
    with opened(path) as file:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in file.demux(*file.streams.audio)
            if packet.dts is not None
        ]
