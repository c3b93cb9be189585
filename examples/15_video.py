"""Draw a video in a style: times kept exactly, sound (here there is none) copied as it is.

python examples/15_video.py

Needs PyAV: pip install '.[video]'. The clip is a face of the demo that smiles.
"""

from __future__ import annotations

import mien
from mien.video import Progress


def show(done: Progress) -> None:
    if done.frames % 8 == 0:
        print(f"{done.frames} frames, {done.frames_per_second:.0f} a second")


with mien.Studio("demo") as studio:
    studio.animate(studio.sample(seed=7), "happy").save("smile.gif")

    # Break it off anywhere: the same line goes on from there, to the same bits.
    made = studio.stylize_video(
        "smile.gif", "mosaic.mp4", style="mosaic", smoothing=0.5, also=["side-by-side"],
        callback=show,
    )  # fmt: skip
    print(", ".join(str(path) for path in made.outputs))

    # Or frame by frame, for a program that shows or stores them itself.
    for frame in studio.stylize_video("smile.gif", style="waves", strength=0.8):
        if frame.index % 8 == 0:
            print(f"frame {frame.index} at {frame.seconds:.2f} s: {frame.picture.shape}")
