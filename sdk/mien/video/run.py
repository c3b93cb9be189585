"""A conversion that can be broken off anywhere: what is done lies in a folder, segment by segment.

OUT.parts holds, of each finished segment, its films (NUMBER.mp4, a playable file; one a view), then
NUMBER.json with its times, and of the segment that is next NUMBER.npz, with what its first picture
depends on. NUMBER is that of the segment's first frame. Each file is whole or not there, and the
JSON is written last: where it is, its segment is done. Whatever lies there without one is drawn
again, from the same state, to the same bits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.video.edit import Failure

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Done:
    """A segment that is drawn: the times and durations of its frames, and what failed.

    sizes: of each view, width and height in px.
    """

    start: int
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    sizes: Mapping[str, tuple[int, int]]
    failures: tuple[Failure, ...] = ()

    @property
    def end(self) -> int:
        return self.start + len(self.pts)


class Run:
    """The folder of a run, locked while it is open.

    output: the file that the run is for. identity: all that its result depends on.
    restart: forget what an earlier run left.

    Raises InputError: another process works on it, it is of another identity, or it cannot be
    written. CorruptFile: its record cannot be read.
    """

    def __init__(self, output: Path, identity: Mapping[str, str], *, restart: bool) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")
        self._lock = FileLock(output.with_name(f".{output.name}.lock"))
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"{shown(output)} is being made by another process", hint="Wait for it, or stop it"
            ) from error
        except OSError as error:
            raise unwritable(output, error) from error
        try:
            if restart:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._open(dict(identity))
            self.segments = self._found()
        except BaseException:
            self.close()
            raise

    @property
    def frames(self) -> int:
        """How many are done."""
        return self.segments[-1].end if self.segments else 0

    def state(self) -> dict[str, NDArray[Any]]:
        """What the next segment's first picture depends on. Raises CorruptFile."""
        if not self.segments:
            return {}
        path = self._path(self.frames, "npz")
        try:
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path, error) from error

    def films(self, view: str) -> list[Path]:
        """The files of a view's finished segments, in order."""
        return [self._film(done.start, view) for done in self.segments]

    def keep(self, done: Done, films: Mapping[str, bytes], state: State) -> None:
        """Add a finished segment. Raises InputError where it cannot be written."""
        for view, data in films.items():
            write_whole(self._film(done.start, view), data)
        following = self._path(done.end, "npz")
        partial = following.with_suffix(".part")
        try:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **state)
                _settle(file)
            partial.replace(following)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise unwritable(following, error) from error
        write_whole(self._path(done.start, "json"), json.dumps(asdict(done)).encode())
        self.segments.append(done)
        if done.start:
            self._path(done.start, "npz").unlink(missing_ok=True)

    def aside(self, view: str, data: bytes) -> Path:
        """Write the film of an unfinished segment, which the next run does not go on from."""
        path = self.folder / f"unfinished.{view}film"
        write_whole(path, data)
        return path

    def clear(self) -> None:
        """Delete the folder: the file is made."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let others work on it."""
        with contextlib.suppress(OSError):  # where open files cannot be deleted it stays
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, identity: dict[str, str]) -> None:
        path = self.folder / "run.json"
        if not path.exists():
            try:
                self.folder.mkdir(exist_ok=True)
            except OSError as error:
                raise unwritable(self.folder, error) from error
            write_whole(path, json.dumps(identity, indent=1).encode())
            return
        try:
            found = json.loads(path.read_bytes())
            changed = sorted(n for n in identity.keys() | found if identity.get(n) != found.get(n))
        except (OSError, ValueError, AttributeError) as error:
            raise _damaged(path, error) from error
        if changed:
            name = changed[0]
            raise InputError(
                f"{shown(self.folder)} holds a broken run with another {name}: "
                f"{found.get(name)}, now {identity.get(name)}",
                hint="Give the same arguments to go on, or begin anew: restart=True, --restart",
            )

    def _found(self) -> list[Done]:
        segments: list[Done] = []
        while True:
            path = self._path(segments[-1].end if segments else 0, "json")
            if not path.exists():
                return segments
            try:
                segments.append(done_of(json.loads(path.read_bytes())))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise _damaged(path, error) from error

    def _path(self, start: int, suffix: str) -> Path:
        return self.folder / f"{start:08d}.{suffix}"

    def _film(self, start: int, view: str) -> Path:
        kind = "gifs" if self.output.suffix.lower() == ".gif" else "mp4"
        return self._path(start, f"{view}.{kind}" if view else kind)


def done_of(record: Mapping[str, Any]) -> Done:
    """Return a segment's record as it was, of its JSON."""
    return Done(
        record["start"],
        tuple(record["pts"]),
        tuple(record["durations"]),
        {view: (width, height) for view, (width, height) in record["sizes"].items()},
        tuple(Failure(**failure) for failure in record["failures"]),
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, all of it or nothing. Raises InputError."""
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            _settle(file)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def _settle(file: Any) -> None:
    """Have the disk hold what was written, before a name says that it does."""
    file.flush()
    os.fsync(file.fileno())


def unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{shown(path)} cannot be written: {error.strerror or error}",
        hint="Check the folder and the free space; the same command then goes on from here",
    )


def _damaged(path: Path, error: Exception) -> CorruptFile:
    return CorruptFile(
        f"{shown(path)} is not the record of a run: {' '.join(str(error).split())}",
        hint="Begin anew: restart=True, --restart",
    )
