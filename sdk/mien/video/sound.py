"""Sound: packets of the source, copied bit for bit, or an error that says why they cannot be.

Nothing here decodes or encodes sound.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from mien.decode import shown
from mien.errors import InputError
from mien.video.containers import CONTAINERS, Container
from mien.video.pyav import opened, pyav, reason


def check_sound(source: Path, output: Path, container: Container | None) -> None:
    """Find out, before any frame is drawn, whether a container holds a source's sound as it is.

    container: of the output; None is a GIF, which holds none.

    Raises InputError, whose hint names containers that do.
    """
    with opened(source) as found:
        tracks = found.streams.audio
        refusal = _refusal(tracks, container)
        if not tracks or refusal is None:
            return
        fitting = [
            suffix
            for suffix, other in CONTAINERS.items()
            if other != container and _refusal(tracks, other) is None
        ]
        codecs = ", ".join(sorted({s.codec_context.name for s in tracks}))
    named = f"Name it {' or '.join(fitting)}, or leave" if fitting else "Leave"
    raise InputError(
        f"{shown(output)} cannot hold the sound of {shown(source)} ({codecs}) as it is: {refusal}",
        hint=f"{named} the sound out: sound=False, --no-sound",
    )


def _refusal(tracks: list[Any], container: Container | None) -> str | None:
    """Why a container does not take these tracks; None where it does. It is tried in memory."""
    if container is None:
        return "GIFs are silent"
    av = pyav()
    try:
        with av.open(io.BytesIO(), "w", format=container.format) as trial:
            for track in tracks:
                trial.add_stream_from_template(track)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        return reason(error)
    return None


def packets(
    source: Path, target: Any, until: Fraction | None
) -> tuple[int, Iterator[tuple[Fraction, Any]]]:
    """Add a source's sound tracks to an open output, and return their number and their packets.

    until: seconds; packets that begin later are left out. None means all.

    The packets come in the order of the file, each with its time in seconds, ready to be muxed.
    """
    with opened(source) as found:
        tracks = {}
        for track in found.streams.audio:
            copy = target.add_stream_from_template(track)
            copy.metadata.update(track.metadata)
            copy.disposition = track.disposition
            tracks[track.index] = copy
    return len(tracks), _packets(source, tracks, until)


def _packets(
    source: Path, tracks: dict[int, Any], until: Fraction | None
) -> Iterator[tuple[Fraction, Any]]:
    if not tracks:
        return
    with opened(source) as found:
        for packet in found.demux(*found.streams.audio):
            if packet.dts is None:  # the end of a track
                continue
            begins = packet.dts * packet.time_base
            if until is None or begins < until:
                packet.stream = tracks[packet.stream_index]
                yield begins, packet
