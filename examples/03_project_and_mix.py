"""Find the codes of two photographs and give each the other's fine layers.

python examples/03_project_and_mix.py

Pass your own photographs' paths to align instead.
"""

from __future__ import annotations

from pathlib import Path

import mien

portraits = sorted((Path(mien.__file__).parent / "zoo" / "portraits").glob("*.jpg"))[:2]

with mien.Studio("demo") as studio:
    faces = [studio.align(p) for p in portraits]
    settings = mien.ProjectionSettings(steps=60)
    first, second = (studio.project(face, settings) for face in faces)
    print(f"{portraits[0].stem}: loss {first.loss:.3f} after {first.steps} steps")

    studio.render(first).save("found.png")
    mixed = studio.mix(first, second, layers="fine")
    mixed.save("mixed.png")

    # And back into the photograph that it was cut from.
    studio.paste(portraits[0], faces[0], mixed).save("pasted.png")
