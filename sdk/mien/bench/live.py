"""A real-time run, picture by picture: `mien webcam` with a test picture for a camera."""

from __future__ import annotations

from itertools import pairwise

from mien.bench.report import Shown, Timeline
from mien.bench.verbs import STYLE, portrait
from mien.errors import InputError
from mien.realtime import Discard, Synthetic, run
from mien.studio import Studio

WARM_UP = 3  # calls: the first of a size compiles and allocates


def live(
    studio: Studio,
    who: str,
    *,
    seconds: float,
    frames_per_second: float = 30.0,
    side: int = 256,
) -> Timeline:
    """Stylise a synthetic camera for some seconds; every frame is drawn, none skipped as still.

    Raises InputError for a time that is too short to show two pictures.
    """
    edit = studio.style_edit(STYLE)
    picture = portrait(side)
    for _ in range(WARM_UP):
        edit.draw(picture)
    moments: list[tuple[float, float, int]] = []
    report = run(
        Synthetic(side=side, frames_per_second=frames_per_second),
        edit,
        Discard(),
        still=0,
        seconds=seconds,
        watch=lambda now, taken, dropped: moments.append((now, taken, dropped)),
    )
    if len(moments) < 2:
        raise InputError(f"{seconds} s were too short to show two pictures", hint="--seconds 10")
    first = moments[0][0]
    shown = [
        Shown(
            at_s=round(now - first, 5),
            frame_ms=round(1e3 * (now - before[0]), 4),
            age_ms=round(1e3 * (now - taken), 4),
            dropped=dropped,
        )
        for before, (now, taken, dropped) in pairwise(moments)
    ]
    return Timeline(who=who, summary=report.record(), shown=tuple(shown))
