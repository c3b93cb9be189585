"""Edited frames one by one, for programs that show or store them themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mien.video.edit import Artist, Draw, FrameEdit, OnFailure, as_edit
from mien.video.frame import Frame
from mien.video.read import open_video
from mien.video.stages import ahead


def edited(
    source: str | Path,
    edit: FrameEdit | Draw,
    *,
    side: int | None = None,
    smoothing: float = 0.0,
    on_failure: OnFailure = "stop",
) -> Iterator[Frame]:
    """Return the edited frames of a video, each with its time, decoded a few frames ahead.

    Arguments and errors are those of `mien.video.convert`; those of wrong arguments come at once,
    the others with the frame. Memory does not grow with the number of frames.
    """
    opened = open_video(source, side=side)
    artist = Artist(as_edit(edit), smoothing=smoothing, on_failure=on_failure)

    def frames() -> Iterator[Frame]:
        with ahead(opened.frames()) as decoded:
            for frame in decoded:
                yield replace(frame, picture=artist.draw(frame)[0])

    return frames()
