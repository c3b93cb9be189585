"""Mix two faces that do not exist, in coarse, middle and fine layers.

python examples/02_mix_two_seeds.py
"""

from __future__ import annotations

import mien

with mien.Studio("demo") as studio:
    content, style = studio.sample(seed=1), studio.sample(seed=2)
    for layers in ("coarse", "middle", "fine"):
        chosen = mien.layer_range(layers, studio.num_ws)
        print(f"{layers}: layers {chosen[0]} to {chosen[-1]} of the second face")
        studio.mix(content, style, layers=layers).save(f"mixed-{layers}.png")

    # The same as a code, which can be kept, edited further and drawn later. psi is the weight
    # that the content keeps: half of each here.
    code = mien.mix(content, style, layers="all", psi=0.5)
    studio.render(code).save("halfway.png")
