"""Project one face with each preset, and film the fastest search.

python examples/09_presets.py
"""

from __future__ import annotations

from dataclasses import replace

import mien

# The published settings of NVlabs take 1000 steps, which is long for an example.
SHORT = {
    "fast": mien.FAST,
    "faithful": replace(mien.FAITHFUL, steps=60),
    "nvlabs": replace(mien.NVLABS, steps=60),
}

with mien.Studio("demo") as studio:
    face = studio.render(studio.sample(seed=8, psi=1.0))
    for name, settings in SHORT.items():
        found = studio.project(face, settings)
        picture = found.picture or studio.render(found)
        print(f"{picture.save(f'{name}.png')}: {found.steps} steps, {found.terms}")

    limited = studio.project(face, "fast", until=0.02, seconds=20, every=2, trace="search.gif")
    print(f"search.gif: ended by {limited.ended} after {limited.steps} steps")
