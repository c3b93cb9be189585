"""The last step: finished segments become the file, which says who made it."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from mien import provenance
from mien.animation import with_xmp
from mien.decode import shown
from mien.errors import RunError
from mien.video.containers import Container
from mien.video.frame import Facts
from mien.video.gif import TRAILER, blocks, delayed, header, schedule
from mien.video.join import join
from mien.video.pyav import pyav, reason
from mien.video.run import Done, unwritable

# Who marks a file's own boxes as XMP in MP4 and QuickTime (XMP specification, part 3).
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
# What a container says of itself, not of the film in it.
OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


@dataclass(frozen=True)
class Film:
    """A file to be made.

    container: None is a GIF. view: which of the run's films it shows. facts: of the source.
    sound: the source that the sound is copied from; None leaves it out.
    made: what the file says of its making; None is nothing.
    """

    path: Path
    container: Container | None
    view: str
    facts: Facts
    sound: Path | None
    made: provenance.Provenance | None

    @property
    def partial(self) -> Path:
        """Where it is kept while it is not whole: NAME.partial.SUFFIX."""
        return self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")


def finish(
    film: Film, pieces: Sequence[Path], segments: Sequence[Done], *, whole: bool = True
) -> int:
    """Write a film of its segments; return how many frames were dropped.

    pieces: the segments' files, in order. whole: False writes `film.partial`, with the sound up to
    the last frame's end. What stood there stays until the new file is whole.

    Raises InputError where it cannot be written.
    """
    path = film.path if whole else film.partial
    writing = path.with_name(f".{path.name}.part")
    try:
        with writing.open("wb") as file:
            dropped = _write(file, film, pieces, segments, whole)
            file.flush()
            os.fsync(file.fileno())
        writing.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    except pyav().error.FFmpegError as error:
        raise RunError(
            f"{shown(path)} cannot be joined: {reason(error)}",
            hint="Try another container, such as .mov, or leave the sound out",
        ) from error
    finally:
        writing.unlink(missing_ok=True)
    return dropped


def _write(
    file: BinaryIO, film: Film, pieces: Sequence[Path], segments: Sequence[Done], whole: bool
) -> int:
    pts = [p for done in segments for p in done.pts]
    durations = [d for done in segments for d in done.durations]
    packet = provenance.packet(film.made) if film.made else b""
    if film.container is None:
        return _write_gif(file, film, pieces, pts, durations, segments[0].sizes[film.view], packet)
    end = (pts[-1] + durations[-1]) * film.facts.time_base
    boxed = film.container.format in ("mp4", "mov")
    join(
        file, film.container, pieces, pts, durations[-1], film.facts.time_base,
        sound=film.sound, until=None if whole else Fraction(end),
        metadata=_metadata(film, "" if boxed else packet.decode()),
    )  # fmt: skip
    if packet and boxed:
        file.seek(0, os.SEEK_END)
        file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + XMP_BOX + packet)
    return 0


def _write_gif(
    file: BinaryIO,
    film: Film,
    pieces: Sequence[Path],
    pts: Sequence[int],
    durations: Sequence[int],
    size: tuple[int, int],
    packet: bytes,
) -> int:
    shown = (
        dict(enumerate(durations))  # a GIF's own delays, those of nothing too
        if film.facts.kind == "gif"
        else dict(schedule(pts, durations[-1], film.facts.time_base))
    )
    start = header(size, film.facts.loop)
    file.write(with_xmp(start, packet) if packet else start)
    number = 0
    for piece in pieces:
        for block in blocks(piece.read_bytes()):
            if number in shown:
                file.write(delayed(block, shown[number]))
            number += 1
    file.write(TRAILER)
    return number - len(shown)


def _metadata(film: Film, packet: str) -> Mapping[str, str]:
    kept = {
        name: value
        for name, value in film.facts.metadata.items()
        if name.lower() not in OF_THE_CONTAINER
    }
    if film.made is None:
        return kept
    comment = f"{film.made.software}; {film.made.digital_source_type}"
    return {"comment": comment, **kept, **({"XMP": packet} if packet else {})}
