"""Draw a picture in the style of others, in one pass: whole, blended, side by side.

python examples/19_stylize.py
"""

from __future__ import annotations

import numpy as np

import mien

with mien.Studio() as studio:
    face = studio.render(studio.sample(seed=8))
    studio.stylize(face, "waves").save("waves.png")
    studio.stylize(face, ["waves", "strokes"], weights=[1, 2], strength=0.8).save("blended.png")
    studio.stylize(face, "mosaic", keep_colour=True).save("own_colours.png")

    height, width = face.array.shape[:2]
    left = np.zeros((height, width), np.float32)
    left[:, : width // 2] = 1
    studio.stylize(face, ["mosaic", "print"], masks=[left, 1 - left]).save("halves.png")
