"""Give a face an expression, animate it, make an expression of two pictures, and share it.

python examples/08_express.py
"""

from __future__ import annotations

import mien
from mien.edits.express import strengths_between

with mien.Studio("demo") as studio:
    face = studio.sample(seed=4)
    for name in ("happy", "sad", "fear"):
        studio.express(face, name).save(f"{name}.png")
    smile = studio.animate(face, "happy", strengths_between(0, 1.5, frames=6))
    print(smile.save("smile.gif"), len(smile.frames), "frames")

    # With your own: two photographs of one person, aligned. Here the network draws them.
    other = studio.sample(seed=11)
    neutral, amused = studio.render(other), studio.express(other, "happy", 0.7)
    settings = mien.ProjectionSettings(steps=20)
    grin = studio.make_expression([neutral], [amused], name="grin", settings=settings)
    grin.save("grin.safetensors")  # with the generator, its sources and their hashes
    studio.express(face, "grin.safetensors", strength=1.2).save("grin.png")
    print(mien.provenance.read("grin.png"))
