"""Video files in: frames upright in RGB, with the times that the file gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.decode import check_file, shown
from mien.errors import DecodeError, InputError, UnsupportedFormat
from mien.video.frame import U8, Facts, Frame, Losses, scaled
from mien.video.gif import GifSource, is_gif
from mien.video.pyav import opened, pyav, reformatter

HDR = {16: "PQ", 18: "HLG"}  # transfer functions (ITU-T H.273, table 3)
HD_HEIGHT = 720  # px; from here on a video that does not name its colours means BT.709
UNNAMED, BT709, BT601 = 2, 1, 5  # colour matrices, as libswscale numbers them
SIDES = (16, 8192)  # px


class Source(Protocol):
    """Something whose frames can be read, from the first on, as often as wanted."""

    facts: Facts
    losses: Losses  # of the latest reading

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number start on. Raises DecodeError."""
        ...


def open_video(path: str | Path, *, side: int | None = None) -> Source:
    """Open a video file or a GIF.

    side: of the shorter side in px; frames are scaled to it. None leaves them as they are.

    Only regular files are opened, of containers that hold their own data: no addresses, no
    playlists.

    Raises DecodeError, UnsupportedFormat, InputError for a side beyond 16 to 8192, and
    MissingDependency.
    """
    path = Path(path)
    if side is not None and not SIDES[0] <= side <= SIDES[1]:
        raise InputError(f"the side is {side} px, expected {SIDES[0]} to {SIDES[1]}")
    check_file(path, "a video file")
    return GifSource(path, side) if is_gif(path) else FileSource(path, side)


class FileSource:
    """A video file, read by PyAV."""

    def __init__(self, path: Path, side: int | None) -> None:
        self.path, self._side = path, side
        with opened(path) as container:
            self.facts = _facts(path, container)
        self.losses = Losses()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number start on. Those before are decoded too: a file can be cut
        only where its encoder allows it, and counting is what is certain to find the same frame.

        Raises DecodeError: no frame at all, no times. UnsupportedFormat: HDR. InputError: frames of
        several sizes.
        """
        self.losses = Losses()
        index, last, size, convert = 0, None, None, reformatter()
        with opened(self.path) as container:
            stream = first_film(self.path, container)
            promised = _promised(container, stream)
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            for decoded in self._decoded(container, stream):
                pts = decoded.pts if decoded.pts is not None else decoded.dts
                if pts is None:
                    raise DecodeError(
                        f"{shown(self.path)}: frame {index} has no time",
                        hint="Convert it to .mp4",
                    )
                if last is not None and pts <= last:
                    self.losses.lost += 1  # no time is left to show it in
                    continue
                size = size or (decoded.width, decoded.height)
                self._check(decoded, index, size)
                last, duration = pts, max(int(decoded.duration or 0), 0)
                if index >= start:
                    yield self._frame(decoded, index, pts, duration, aspect, convert)
                index += 1
            if last is None:
                raise DecodeError(
                    f"{shown(self.path)} has no frame that can be decoded",
                    hint="Copy or download it again",
                )
            end = (last + duration - (stream.start_time or 0)) * self.facts.time_base
            self.losses.lost += _missing(promised, index + self.losses.lost, end, self.facts)

    def stretch(self, key: int, first: int, times: Sequence[int]) -> Iterator[Frame]:
        """Yield the frames with these times (pts, ascending), of which the first has number first.

        key: pts of a key frame at or before them. Nothing before it is decoded, so they are the
        frames of `frames` where the film is what its index says.

        Raises DecodeError where it is not. InputError, UnsupportedFormat: as `frames`.
        """
        self.losses = Losses()
        convert, size, waiting = reformatter(), None, list(reversed(times))
        with opened(self.path) as container:
            stream = first_film(self.path, container)
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            container.seek(key, stream=stream)
            for decoded in self._decoded(container, stream):
                pts = decoded.pts if decoded.pts is not None else decoded.dts
                if pts is None or pts < times[0]:
                    continue
                index = first + len(times) - len(waiting)
                if pts != waiting[-1] or self.losses.damaged:
                    break
                waiting.pop()
                size = size or (decoded.width, decoded.height)
                self._check(decoded, index, size)
                duration = max(int(decoded.duration or 0), 0)
                yield self._frame(decoded, index, pts, duration, aspect, convert)
                if not waiting:
                    return
        raise DecodeError(
            f"{shown(self.path)}: frame {first + len(times) - len(waiting)} is not where the "
            "film's index has it",
            hint="Convert it in one piece: mien video",
        )

    def _frame(
        self, decoded: Any, index: int, pts: int, duration: int, aspect: Fraction, convert: Any
    ) -> Frame:
        matrix = _matrix(decoded)
        picture = upright(_rgb(decoded, self._side, convert), matrix)
        turned = 1 / aspect if is_turned(matrix) else aspect
        return Frame(picture, index, pts, duration, self.facts.time_base, turned)

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        av = pyav()
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:  # a damaged packet; the next may be whole
                self.losses.damaged += 1
                continue
            for frame in frames:
                self.losses.damaged += bool(frame.is_corrupt)
                yield frame

    def _check(self, frame: Any, index: int, size: tuple[int, int]) -> None:
        if frame.color_trc in HDR:
            raise UnsupportedFormat(
                f"{shown(self.path)} is HDR ({HDR[frame.color_trc]}), expected standard range",
                hint="Convert it to SDR first, with ffmpeg's filter tonemap for example",
            )
        if (frame.width, frame.height) != size:
            raise InputError(
                f"{shown(self.path)}: frame {index} has {frame.width} x {frame.height} px, "
                f"those before {size[0]} x {size[1]}",
                hint="Cut it there, or scale it to one size first",
            )


def _facts(path: Path, container: Any) -> Facts:
    stream = first_film(path, container)
    others = [s for s in container.streams if s.type != "audio" and s is not stream]
    promised = _promised(container, stream)
    return Facts(
        kind=container.format.name,
        time_base=Fraction(stream.time_base),
        frames=promised,
        seconds=_seconds(container, stream),
        sounds=tuple(_line(s) for s in container.streams.audio),
        left_out=tuple(_line(s) for s in others),
        metadata=dict(container.metadata),
    )


def first_film(path: Path, container: Any) -> Any:
    """The first video track. A picture that is filed as one, such as a song's cover, is none."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition):
            return stream
    raise DecodeError(
        f"{shown(path)} holds no video that can be read", hint="Copy or download it again"
    )


def _line(stream: Any) -> str:
    codec = getattr(stream.codec_context, "name", None) or "unknown"
    return " ".join(part for part in (stream.type, codec, stream.language) if part)


def _promised(container: Any, stream: Any) -> int | None:
    """Frames that the file says it has; edit lists cut some of those that are stored."""
    if not stream.frames:
        return None
    listed = len(stream.index_entries) if "mp4" in container.format.name else 0
    return min(stream.frames, listed) if listed else int(stream.frames)


def _seconds(container: Any, stream: Any) -> float | None:
    """Length of the video track, from its own header where that says it."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    clock = stream.metadata.get("DURATION", "").split(":")
    if len(clock) == 3:
        hours, minutes, seconds = map(float, clock)
        return 3600 * hours + 60 * minutes + seconds - _start(stream)
    only_video = len(container.streams) == 1
    return container.duration / 1e6 - _start(stream) if only_video and container.duration else None


def _start(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _missing(promised: int | None, found: int, end: Fraction, facts: Facts) -> int:
    """Frames that were promised and did not come. Where only the length is known, as many as would
    fill the rest at the mean distance of the others: at less than one and a half, none."""
    if promised is not None:
        return max(0, promised - found)
    rest = (facts.seconds or 0) - float(end)
    mean = float(end) / found
    return round(rest / mean) if rest > 1.5 * mean else 0


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """How the frame is laid on the screen: x' = a x + c y, y' = b x + d y (ISO 14496-12)."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
    return a, b, c, d


def is_turned(matrix: tuple[int, int, int, int]) -> bool:
    """Tell whether a matrix makes columns of rows."""
    return abs(matrix[1]) > abs(matrix[0])


def upright(picture: U8, matrix: tuple[int, int, int, int]) -> U8:
    """Turn and mirror a picture [H, W, 3] by quarters as a matrix says; see `_matrix`."""
    a, b, c, d = matrix
    if is_turned(matrix):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    picture = picture[:, ::-1] if a < 0 else picture
    return np.ascontiguousarray(picture[::-1] if d < 0 else picture)


def _rgb(frame: Any, side: int | None, convert: Any) -> U8:
    """A decoded frame as RGB [H, W, 3], scaled."""
    width, height = scaled(frame.width, frame.height, side)
    matrix = frame.colorspace
    if matrix == UNNAMED:
        matrix = BT709 if frame.height >= HD_HEIGHT else BT601
    picture = convert.reformat(
        frame,
        width,
        height,
        "rgb24",
        src_colorspace=None if frame.format.is_rgb else matrix,
        interpolation="AREA",
        threads=1,
    ).to_ndarray()
    return np.asarray(picture, np.uint8)
