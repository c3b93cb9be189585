"""Draw faces in the style of a reference or of nobody (StarGAN v2), and on the way between two.

python examples/12_translate.py [BUNDLE]

None means the network that comes with mien, between women (domain 0) and men (1).
"""

from __future__ import annotations

import sys

import mien

with mien.Studio(*sys.argv[1:]) as studio:
    anna, eva, mark, tom = (studio.render(studio.sample(seed)) for seed in (8, 7, 11, 3))
    studio.translate(anna, reference=mark, domain=1).save("like-mark.png")
    studio.translate(anna, domain=1, seed=4, psi=0.7).save("like-nobody.png")

    # A style is found once, and serves any number of pictures.
    styles = [studio.face_style(reference=face, domain=1) for face in (mark, tom)]
    for name, face in (("anna", anna), ("eva", eva)):
        studio.translate(face, styles[0]).save(f"{name}-translated.png")
    way = studio.translate_between(anna, styles, frames=6)
    print(way.save("between.gif"), len(way.frames), "frames")
    studio.translate_sheet([anna, eva], [mark, tom], domain=1).save("sheet.png")
