"""Edit every face of a group photograph, and put each back where it was.

python examples/06_paste.py

The group is mien's two portraits side by side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mien
from mien.images import load

folder = Path(mien.__file__).parent / "zoo" / "portraits"
portraits = [load(folder / f"{name}.jpg") for name in ("ada", "ben")]
group = mien.Picture(np.hstack(portraits))

with mien.Studio("demo") as studio:
    faces = studio.align_all(group)
    codes = [studio.invert(face) for face in faces]
    result = group
    for face, own, other in zip(faces, codes, reversed(codes), strict=True):
        edited = studio.mix(own, other, layers="middle")
        result = studio.paste(result, face, edited)  # colours follow the photograph
        print(f"a face of {np.hypot(*(face.quad[3] - face.quad[0])):.0f} px, {face.flags}")
    group.save("group.png")
    result.save("pasted.png")
