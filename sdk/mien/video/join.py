"""Segments and sound become one file, packet by packet: nothing is decoded, nothing encoded."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import InputError
from mien.video.containers import Container
from mien.video.pyav import opened, pyav
from mien.video.sound import packets

LARGEST_CLOCK = 2**31 - 1  # ticks a second of the clock in which an MP4 states offsets of tracks


def join(
    target: BinaryIO,
    container: Container,
    segments: Sequence[Path],
    pts: Sequence[int],
    last: int,
    time_base: Fraction,
    *,
    sound: Path | None = None,
    until: Fraction | None = None,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write one file of segments, and of a source's sound; return the number of sound tracks.

    pts: of all frames, in units of time_base. last: duration of the last one.
    sound: the source; None leaves it out. until: seconds where the sound is cut.

    Raises InputError where the times do not fit into the container.
    """
    av = pyav()
    options = _options(container, time_base, sound)
    with av.open(target, "w", format=container.format, container_options=options) as file:
        file.metadata.update(metadata or {})
        with av.open(str(segments[0])) as first:
            stream = file.add_stream_from_template(first.streams.video[0])
        stream.time_base = time_base
        tracks, heard = packets(sound, file, until) if sound else (0, iter(()))
        seen = _video_packets(segments, stream, pts, last, time_base)
        for _, packet in heapq.merge(seen, heard, key=lambda timed: timed[0]):
            file.mux_one(packet)
    return tracks


def _video_packets(
    segments: Sequence[Path], stream: Any, pts: Sequence[int], last: int, time_base: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """The packets of the segments, each with its own time and duration, ready to be muxed."""
    av = pyav()
    ends = [*pts[1:], pts[-1] + max(last, 1)]
    number = 0
    for path in segments:
        with av.open(str(path)) as file:
            for packet in file.demux(video=0):
                if packet.dts is None:  # the end
                    continue
                packet.stream, packet.time_base = stream, time_base
                packet.pts = packet.dts = pts[number]
                packet.duration = ends[number] - pts[number]
                yield pts[number] * time_base, packet
                number += 1
    assert number == len(pts), f"{number} packets of {len(pts)} frames"


def _options(container: Container, time_base: Fraction, sound: Path | None) -> dict[str, str]:
    """Options of the muxer. MP4 states the offset between tracks in ticks of one clock, which must
    be a multiple of every track's, or the offset would be rounded."""
    if container.clock is not None:
        return {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    clocks = [time_base.denominator]
    if sound is not None:
        with opened(sound) as found:
            clocks += [track.time_base.denominator for track in found.streams.audio]
            clocks += [track.rate for track in found.streams.audio]
    clock = math.lcm(*clocks)
    if clock > LARGEST_CLOCK:
        raise InputError(
            f"the tracks count in {', '.join(f'1/{c}' for c in sorted(set(clocks)))} s, which have "
            "no common clock that MP4 can state",
            hint="Convert the video to .mkv first, and name the output .mkv",
        )
    return {"movie_timescale": str(clock)}
