"""From one video to another: decode, edit and encode in three threads, a few frames apart.

A run can be broken off at any moment, by a signal that nothing can catch too. The next one with the
same arguments goes on behind the last finished segment, and the finished file is, to the bit, that
of a run that was never broken: see `mien.video.run`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

import mien
from mien import provenance
from mien.decode import shown
from mien.errors import Cancelled, InputError, MienError
from mien.video.containers import Container, check_time, container_of
from mien.video.edit import Artist, Draw, Failure, FrameEdit, OnFailure, as_edit
from mien.video.finish import Film, finish
from mien.video.frame import U8, Frame
from mien.video.gif import GifSegment
from mien.video.pyav import pyav
from mien.video.read import Source, open_video
from mien.video.run import Done, Run, State
from mien.video.sound import check_sound
from mien.video.stages import ahead
from mien.video.write import Segment

SEGMENT = 48  # frames; what a run that is killed has to draw again at most
Also = Literal["side-by-side"]
View = Callable[[U8, U8], U8]  # frame, picture -> what a film shows


@dataclass(frozen=True)
class Progress:
    """What a callback is told after each frame.

    frames: done, of `of`; None where the source does not say how many it has.
    frames_per_second: of this run. seconds_left: None where nothing is known.
    """

    frames: int
    of: int | None
    frames_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class Converted:
    """What became of a video.

    outputs: the file, and those of `also`. frames: in the file.
    lost: frames that the source promises and that could not be decoded. damaged: decoded in part.
    dropped: frames that a GIF has no time for. failures: frames that could not be edited.
    sounds: tracks that were copied. left_out: those that were not, and why.
    resumed_at: the frame that this run began with. seconds: that it took.
    """

    outputs: tuple[Path, ...]
    frames: int
    lost: int
    damaged: int
    dropped: int
    failures: tuple[Failure, ...]
    sounds: int
    left_out: tuple[str, ...]
    resumed_at: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def convert(
    source: str | Path,
    output: str | Path,
    edit: FrameEdit | Draw,
    *,
    side: int | None = None,
    sound: bool = True,
    smoothing: float = 0.0,
    on_failure: OnFailure = "stop",
    also: Sequence[Also] = (),
    mark: bool = True,
    restart: bool = False,
    callback: Callable[[Progress], object] | None = None,
    stop: threading.Event | None = None,
) -> Converted:
    """Edit every frame of a video.

    Args:
        source: a video file or a GIF. output: .mp4, .m4v, .mov, .mkv, .webm or .gif.
        edit: picture -> picture, or a `FrameEdit`.
        side: of the shorter side in px, to which frames are scaled before the edit.
        sound: copy all sound tracks, as they are; False leaves them out.
        smoothing: against flicker, 0 to 1. on_failure: as `Artist` has them.
        also: "side-by-side" also writes NAME-side-by-side, the source beside the result.
        mark: say in the file that mien made it, and of what.
        restart: forget what an earlier run left, instead of going on from it.
        callback: called after each frame. stop: set this event to break off.

    What stood at output stays until the new file is whole. A run that ends early, by an error too,
    leaves NAME.partial with what was done, sound included, and OUTPUT.parts to go on from.

    Raises:
        DecodeError, UnsupportedFormat: the source cannot be read.
        InputError: a container that cannot hold the sound or the times; arguments beyond their
            ranges; a broken run of other arguments; no space.
        Cancelled: it was stopped. What the edit raises, with the frame's number.
    """
    began = time.perf_counter()
    source, output, edit = Path(source), Path(output), as_edit(edit)
    opened = open_video(source, side=side)
    container = container_of(output)
    artist = Artist(edit, smoothing=smoothing, on_failure=on_failure)
    views = _views(also)
    _check_paths(source, output)
    sounds = len(opened.facts.sounds) if sound else 0
    if sounds:
        check_sound(source, output, container)
    identity = _identity(source, output, edit) | {
        "side": str(side),
        "smoothing": str(smoothing),
        "rule for failures": on_failure,
        "views": ", ".join(views),
    }
    sources = (identity["source"], *edit.sources)
    made = provenance.of_mien(edit.edits, sources) if mark else None
    with Run(output, identity, restart=restart) as run:
        first = run.frames
        films = {
            view: Film(path, container, view, opened.facts, source if sounds else None, made)
            for view, path in _outputs(output, views).items()
        }
        work = _Work(run, opened, container, views)
        told = _Teller(opened, first, callback)
        artist.restore(run.state())
        try:
            work.draw(artist, told, stop)
        except BaseException as error:
            kept = work.save_partial(films)
            if isinstance(error, MienError):
                raise _with_way_on(error, kept) from error
            raise
        dropped = [finish(film, run.films(view), run.segments) for view, film in films.items()]
        run.clear()
        for film in films.values():
            film.partial.unlink(missing_ok=True)
    return Converted(
        outputs=tuple(film.path for film in films.values()),
        frames=run.frames - dropped[0],
        lost=opened.losses.lost,
        damaged=opened.losses.damaged,
        dropped=dropped[0],
        failures=tuple(failure for done in run.segments for failure in done.failures),
        sounds=sounds,
        left_out=opened.facts.left_out + (() if sound else opened.facts.sounds),
        resumed_at=first,
        seconds=time.perf_counter() - began,
    )


class _Work:
    """Draws the frames that are not done yet, segment by segment."""

    def __init__(
        self, run: Run, source: Source, container: Container | None, views: Mapping[str, View]
    ) -> None:
        self._run, self._source = run, source
        self._container, self._views = container, views
        self._begin()

    def draw(self, artist: Artist, told: _Teller, stop: threading.Event | None) -> None:
        frames = self._source.frames(self._run.frames)
        with ahead(frames) as decoded, ahead(_drawn(decoded, artist)) as pictures:
            for frame, picture, failure, state in pictures:
                if stop is not None and stop.is_set():
                    raise Cancelled(f"stopped after {frame.index} frames")
                self._add(frame, picture, failure)
                told(frame)
                if state is not None:
                    self._end(state)
        if self._pts:
            self._end({})

    def save_partial(self, films: Mapping[str, Film]) -> Path | None:
        """Write what is done as a playable file of another name, and return that; None where there
        is nothing, or no space for it."""
        if not self._run.frames and not self._pts:
            return None
        with contextlib.suppress(Exception):  # what ended the run is to be told, not this
            segments, pieces = list(self._run.segments), dict[str, list[Path]]()
            if self._pts:
                segments.append(self._done())
                pieces = {
                    view: [self._run.aside(view, segment.finish())]
                    for view, segment in self._segments.items()
                }
            for view, film in films.items():
                files = [*self._run.films(view), *pieces.get(view, ())]
                finish(film, files, segments, whole=False)
            return films[""].partial
        return None

    def _begin(self) -> None:
        self._pts: list[int] = []
        self._durations: list[int] = []
        self._failures: list[Failure] = []
        self._segments: dict[str, Segment | GifSegment] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def _add(self, frame: Frame, picture: U8, failure: Failure | None) -> None:
        check_time(self._container, frame.pts, frame.time_base)
        for view, show in self._views.items():
            shows = show(frame.picture, picture)
            size = shows.shape[1], shows.shape[0]
            if view not in self._segments:
                self._sizes[view] = size
                self._segments[view] = (
                    GifSegment()
                    if self._container is None
                    else Segment(self._container, size, frame.time_base, frame.aspect)
                )
            self._segments[view].add(shows, frame.pts)
        self._pts.append(frame.pts)
        self._durations.append(frame.duration)
        if failure is not None:
            self._failures.append(failure)

    def _done(self) -> Done:
        return Done(
            self._run.frames, tuple(self._pts), tuple(self._durations), dict(self._sizes),
            tuple(self._failures),
        )  # fmt: skip

    def _end(self, state: State) -> None:
        films = {view: segment.finish() for view, segment in self._segments.items()}
        self._run.keep(self._done(), films, state)
        self._begin()


def _drawn(
    frames: Iterator[Frame], artist: Artist
) -> Iterator[tuple[Frame, U8, Failure | None, State | None]]:
    """Frames with their pictures, and behind the last of a segment what the next depends on."""
    for frame in frames:
        picture, failure = artist.draw(frame)
        ends = (frame.index + 1) % SEGMENT == 0
        yield frame, picture, failure, artist.state() if ends else None


class _Teller:
    """Tells a callback how far a run is, and how fast."""

    def __init__(
        self, source: Source, first: int, callback: Callable[[Progress], object] | None
    ) -> None:
        self._facts, self._first, self._callback = source.facts, first, callback
        self._began = time.perf_counter()

    def __call__(self, frame: Frame) -> None:
        if self._callback is None:
            return
        done, of = frame.index + 1, self._facts.frames
        if of is None and self._facts.seconds and frame.seconds > 0:
            of = max(done, round(done * self._facts.seconds / frame.seconds))
        rate = (done - self._first) / max(time.perf_counter() - self._began, 1e-9)
        left = None if of is None else (of - done) / rate
        self._callback(Progress(done, of, rate, left))


def _views(also: Sequence[Also]) -> dict[str, View]:
    unknown = set(also) - set(ALSO)
    if unknown:
        raise InputError(
            f"also is {', '.join(map(repr, sorted(unknown)))}, expected {', '.join(ALSO)}"
        )
    return {"": lambda frame, picture: picture, **{view: ALSO[view] for view in also}}


def side_by_side(frame: U8, picture: U8) -> U8:
    """A frame and its picture beside each other, at the picture's height."""
    height, width = frame.shape[:2]
    if height != picture.shape[0]:
        size = round(width * picture.shape[0] / height), picture.shape[0]
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.hstack([frame, picture])


ALSO: dict[str, View] = {"side-by-side": side_by_side}


def _outputs(output: Path, views: Mapping[str, View]) -> dict[str, Path]:
    return {
        view: output.with_name(f"{output.stem}-{view}{output.suffix}") if view else output
        for view in views
    }


def _check_paths(source: Path, output: Path) -> None:
    if output.exists() and output.samefile(source):
        raise InputError(f"{shown(output)} is the source itself", hint="Give it another name")
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {shown(output.parent)}", hint="Make it first")


def _identity(source: Path, output: Path, edit: FrameEdit) -> dict[str, str]:
    """What the result depends on, besides the arguments."""
    return {
        "source": provenance.digest(source),
        "edit": ", ".join((*edit.edits, *edit.sources)),
        **edit.settings,
        "format": output.suffix.lower(),
        "version": f"mien {mien.__version__}, PyAV {pyav().__version__}",
    }


def _with_way_on(error: MienError, kept: Path | None) -> MienError:
    """The same error, whose hint says what is left of the run."""
    if kept is None:
        return error
    parts = [error.hint, f"{shown(kept)} holds what is done, the same command goes on from there"]
    return type(error)(error.message, hint=". ".join(filter(None, parts)))
