"""Draw live pictures in a style: a slow network drops frames, and what is shown stays young.

python examples/16_live.py

open_source(0) is a camera, open_source("clip.mp4") a file at its own speed. open_viewer("http",
size) is a page in the browser, whose address is viewer.where.
"""

from __future__ import annotations

import numpy as np

import mien
from mien.realtime import Discard, Synthetic


class Keep(Discard):
    """A viewer is anything that has show, gone, where and close. This one leaves after a while."""

    seen = 0

    def show(self, picture: np.ndarray) -> None:  # uint8 RGB [H, W, 3]
        self.latest = picture
        self.seen += 1
        self.gone = self.seen == 30


viewer = Keep()
source = Synthetic(side=256, frames_per_second=30)
with mien.Studio() as studio:
    report = studio.stylize_live(source, viewer, style="waves", smoothing=0.5)
print(report.line())
print(f"{report.captured} captured, {report.drawn} drawn, {report.dropped} dropped")
mien.Picture(viewer.latest, ("stylize",)).save("latest.png")
