"""Paint a face in the style of a picture, by a search for the pixels (Gatys et al. 2016).

python examples/14_gatys.py [PHOTO STYLE]

Without a photograph, mien draws a face; "mosaic", "print", "strokes" and "waves" come with mien.
"""

from __future__ import annotations

import sys

import mien
from mien.edits.loop import Step


def show(step: Step) -> None:
    style, content, _ = step.terms[0]
    print(f"step {step.step} of {step.steps}: style {style:.3g}, content {content:.3g}")


with mien.Studio("demo") as studio:
    photo = sys.argv[1] if len(sys.argv) > 1 else studio.render(studio.sample(8))
    style = sys.argv[2] if len(sys.argv) > 2 else "waves"
    settings = mien.GatysSettings(size=128, steps=(60, 40))
    found = studio.gatys(photo, style, settings, every=20, callback=show)
    found.save("painted.png")
    print(f"loss {found.loss:.3g} after {found.steps} steps, {found.seconds:.1f} s")
