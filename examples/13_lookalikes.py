"""Draw faces that share an identity, walk along a control, and write a labelled set.

python examples/13_lookalikes.py [BUNDLE ...]

One bundle is of family lookalike: mien export lookalike CHECKPOINT -o BUNDLE. Where another is of
family arcface, likeness is told.
"""

from __future__ import annotations

import sys

import mien
from mien.bundles import built_in

judged = len(sys.argv) > 2 or "embedder" in built_in()

with mien.Studio(*sys.argv[1:]) as studio:
    anna, mark = (studio.render(studio.sample(seed)) for seed in (8, 11))
    alike = studio.lookalikes(anna, 12, seed=7, cosines=judged)
    alike.sheet(columns=6).save("lookalikes.png")
    if alike.cosines is not None:
        print(f"cosines {alike.cosines.min():.2f} to {alike.cosines.max():.2f}")
    studio.lookalike_walk(anna, 2, steps=9).animation().save("walk.gif")

    people = {"anna": anna, "mark": mark}
    labels = studio.lookalike_set(people, 4, "set", seed=7, cosines=judged)
    print(labels.read_text().splitlines()[0])
