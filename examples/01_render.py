"""Draw a face that does not exist, at three truncations.

python examples/01_render.py
"""

from __future__ import annotations

import mien

with mien.Studio("demo") as studio:
    for psi in (0.4, 0.7, 1.0):
        code = studio.sample(seed=7, psi=psi)  # a W+ code, float32 [layers, width]
        path = studio.render(code).save(f"seven-{psi}.png")
        print(path)
