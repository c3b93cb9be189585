"""Give a face the eyes of another, then every part its own reference; show where it changed.

python examples/17_edit.py
"""

from __future__ import annotations

import mien

with mien.Studio("demo") as studio:
    anna, mark, lena = (studio.sample(seed) for seed in (8, 11, 14))
    eyes = studio.edit(anna, mark, part="eyes")
    print(eyes.picture.save("eyes.png"))
    mien.locality_map(studio.render(anna), eyes.picture).save("where.png")

    # Further, or all at once, which is the same picture in one pass.
    again = studio.edit(eyes, lena, part="mouth")
    both = studio.edit_parts(anna, {"eyes": mark, "mouth": lena})
    print("the same:", (again.picture.array == both.picture.array).all())
    both.picture.save("eyes-and-mouth.png")

    # A catalogue of your own generator is made by studio.make_catalogue() and saved.
    print("parts:", ", ".join(mien.load_catalogue("demo").parts))
    studio.show_catalogue("demo", seeds=[8]).save("catalogue.png")
