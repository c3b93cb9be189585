"""A film in pieces, drawn apart and joined: the file is that of an unbroken run, bit for bit.

A piece is a number of whole segments (`mien.video.write`), which are encoded each for itself, and
begins to decode at the last key frame before it. Sound is copied when the pieces are joined. What a
segment looks like depends on its own frames alone: an edit that looks back (smoothing, holding the
last picture) cannot be had in pieces.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from mien import provenance
from mien.decode import check_file, shown
from mien.errors import CorruptFile, DecodeError
from mien.video.containers import Container, check_time, container_of
from mien.video.convert import SEGMENT
from mien.video.edit import Artist, Failure, FrameEdit, OnFailure
from mien.video.finish import Film, finish
from mien.video.frame import Frame
from mien.video.pyav import opened
from mien.video.read import FileSource, first_film
from mien.video.run import Done, done_of, write_whole
from mien.video.sound import check_sound
from mien.video.stages import ahead
from mien.video.write import Segment


@dataclass(frozen=True)
class Piece:
    """Frames of a film.

    first: the number of the first. key: pts of the key frame to begin decoding at. times: pts of
    the frames, ascending, all in the film's own unit.
    """

    first: int
    key: int
    times: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.times)


def cut(path: Path, frames: int = 10 * SEGMENT) -> list[Piece]:
    """Return the pieces of a film, of about so many frames each; nothing is decoded.

    Raises DecodeError where the film cannot be read, or does not say when its frames are shown.
    """
    check_file(path, "a video file")
    times, keys = set[int](), list[int]()
    with opened(path) as container:
        stream = first_film(path, container)
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                raise DecodeError(
                    f"{shown(path)}: frame {len(times)} has no time", hint="Convert it to .mp4"
                )
            times.add(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    if not times or not keys:
        raise DecodeError(
            f"{shown(path)} has no frame that can be decoded", hint="Copy or download it again"
        )
    ordered, keys = sorted(times), sorted(keys)
    step = max(1, round(frames / SEGMENT)) * SEGMENT
    return [
        Piece(first, _key(keys, ordered[first]), tuple(ordered[first : first + step]))
        for first in range(0, len(ordered), step)
    ]


def draw_piece(
    source: Path,
    output: Path,
    piece: Piece,
    edit: FrameEdit,
    folder: Path,
    *,
    side: int | None = None,
    on_failure: OnFailure = "stop",
    callback: Callable[[Frame], object] | None = None,
) -> list[Done]:
    """Draw the segments of a piece into a folder, those that are not there yet.

    output: the name of the film that they are for. folder: of the segments of all pieces.

    Raises what reading raises, and the edit.
    """
    container = container_of(output)
    assert container is not None, "a GIF is drawn in one piece"
    artist = Artist(edit, on_failure=on_failure)
    starts = range(piece.first, piece.end, SEGMENT)
    missing = [first for first in starts if not _record(folder, first).exists()]
    if missing:
        times = piece.times[missing[0] - piece.first :]
        found = FileSource(source, side).stretch(piece.key, missing[0], times)
        with ahead(found) as frames:
            for first in starts[starts.index(missing[0]) :]:
                done, film = _segment(islice(frames, SEGMENT), artist, container, callback)
                write_whole(_film(folder, first), film)
                write_whole(_record(folder, first), json.dumps(asdict(done)).encode())
    return [_read(_record(folder, first)) for first in starts]


def join_pieces(
    source: Path,
    output: Path,
    target: Path,
    pieces: Sequence[Piece],
    edit: FrameEdit,
    folder: Path,
    *,
    named: str,
    sound: bool = True,
    mark: bool = True,
) -> list[Done]:
    """Join the segments of all pieces, and the source's sound, into target.

    output: the name that the film is for. named: the source, as `mien.provenance.digest` names it.

    Raises CorruptFile where a segment is missing. InputError: a container that cannot hold the
    sound, no space.
    """
    container = container_of(output)
    starts = [first for piece in pieces for first in range(piece.first, piece.end, SEGMENT)]
    ready = [_read(_record(folder, first)) for first in starts]
    facts = FileSource(source, None).facts
    heard = source if sound and facts.sounds else None
    if heard is not None:
        check_sound(source, output, container)
    made = provenance.of_mien(edit.edits, (named, *edit.sources)) if mark else None
    film = Film(target, container, "", facts, heard, made)
    finish(film, [_film(folder, first) for first in starts], ready)
    return ready


def _key(keys: Sequence[int], time: int) -> int:
    """The last key frame at or before a time; the first, where a film begins without one."""
    return keys[max(0, bisect_right(keys, time) - 1)]


def _segment(
    frames: Iterable[Frame],
    artist: Artist,
    container: Container,
    callback: Callable[[Frame], object] | None,
) -> tuple[Done, bytes]:
    segment: Segment | None = None
    times, durations, failures = list[int](), list[int](), list[Failure]()
    size, first = (0, 0), 0
    for frame in frames:
        picture, failure = artist.draw(frame)
        check_time(container, frame.pts, frame.time_base)
        if segment is None:
            size, first = (picture.shape[1], picture.shape[0]), frame.index
            segment = Segment(container, size, frame.time_base, frame.aspect)
        segment.add(picture, frame.pts)
        times.append(frame.pts)
        durations.append(frame.duration)
        if failure is not None:
            failures.append(failure)
        if callback is not None:
            callback(frame)
    assert segment is not None
    done = Done(first, tuple(times), tuple(durations), {"": size}, tuple(failures))
    return done, segment.finish()


def _film(folder: Path, first: int) -> Path:
    return folder / f"{first:08d}.mp4"


def _record(folder: Path, first: int) -> Path:
    return folder / f"{first:08d}.json"


def _read(record: Path) -> Done:
    try:
        return done_of(json.loads(record.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{shown(record)} is not the record of a segment: {' '.join(str(error).split())}",
            hint="Delete its folder and run again",
        ) from error
