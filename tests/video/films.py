"""Small films, made by PyAV for one test each, and what is to be seen and heard in a film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
LOSSLESS = {"libx264rgb": {"qp": "0", "preset": "ultrafast"}, "ffv1": {}}
EVEN = tuple(range(0, 20 * 1001, 1001))  # of 29.97 fps in 1/30000 s


@dataclass(frozen=True)
class Sound:
    """A track: noise of `blocks` times 1024 samples, from `start` samples on."""

    codec: str = "aac"
    blocks: int = 30
    start: int = 0
    rate: int = 48000
    language: str = "eng"


@dataclass(frozen=True)
class Film:
    """What a film is made of."""

    pts: Sequence[int] = EVEN
    time_base: Fraction = Fraction(1, 30000)
    size: tuple[int, int] = (64, 48)
    sounds: Sequence[Sound] = ()
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "10"})
    rotation: int | None = None
    flip: bool = False
    trc: int | None = None


def scene(index: int, size: tuple[int, int] = (64, 48)) -> U8:  # [H, W, 3]
    """A frame that no other resembles: its number as grey, a red corner top left, a moving bar."""
    picture = np.full((size[1], size[0], 3), 40 + 7 * index % 180, np.uint8)
    picture[: size[1] // 3, : size[0] // 3] = (220, 30, 30)
    x = 3 * index % size[0]
    picture[size[1] // 2 :, x : x + 6] = (30, 60, 230)
    return picture


def make(path: Path, film: Film | None = None) -> Path:
    """Write a film."""
    film = film or Film()
    rng = np.random.default_rng(7)
    options = {"movie_timescale": "240000"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=options) as file:
        stream = file.add_stream(film.codec, rate=30, options=film.options)
        stream.width, stream.height = film.size
        stream.pix_fmt = film.pix_fmt
        stream.time_base = stream.codec_context.time_base = film.time_base
        if film.trc is not None:
            stream.codec_context.color_trc = film.trc
        if film.rotation is not None:
            stream.set_display_rotation(film.rotation, hflip=film.flip)
        tracks = []
        for sound in film.sounds:
            track = file.add_stream(sound.codec, rate=sound.rate)
            track.layout = "mono"
            track.metadata["language"] = sound.language
            tracks.append(track)
        for i, pts in enumerate(film.pts):
            frame = av.VideoFrame.from_ndarray(scene(i, film.size), "rgb24")
            frame.pts, frame.time_base = pts, film.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        for sound, track in zip(film.sounds, tracks, strict=True):
            for k in range(sound.blocks):
                block = (0.1 * rng.standard_normal((1, 1024))).astype(np.float32)
                heard = av.AudioFrame.from_ndarray(block, "fltp", "mono")
                heard.sample_rate, heard.pts = sound.rate, sound.start + 1024 * k
                heard.time_base = Fraction(1, sound.rate)
                file.mux(track.encode(heard))
            file.mux(track.encode())
    return path


def times(path: Path) -> list[Fraction]:
    """When the frames of a file are shown, in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def seen(path: Path) -> list[U8]:
    """The frames of a file, as decoded, [H, W, 3]."""
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def heard(path: Path) -> list[list[tuple[Fraction, bytes]]]:
    """Of each sound track of a file its packets: time in seconds, bytes."""
    with av.open(str(path)) as file:
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in file.streams.audio}
        if found:
            for packet in file.demux(*file.streams.audio):
                if packet.dts is not None:
                    at = packet.pts * packet.time_base
                    found[packet.stream_index].append((at, bytes(packet)))
        return list(found.values())


def decoded_sound(path: Path) -> Iterator[NDArray[np.float32]]:
    """The samples of the first track."""
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            yield frame.to_ndarray()


def inverted(picture: U8) -> U8:
    """An edit whose result anyone can tell."""
    return 255 - picture
