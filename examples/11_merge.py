"""Merge two faces, either way round, in the middle of their details alone, and one with many.

python examples/11_merge.py [BUNDLE]

The bundle is of family vaegan: mien export vaegan CHECKPOINT -o BUNDLE.
"""

from __future__ import annotations

import sys

import mien

with mien.Studio(*sys.argv[1:]) as studio:
    anna, *others = (studio.render(studio.sample(seed)) for seed in (8, 11, 4, 3))
    mark = others[0]
    studio.merge(anna, mark).save("merged.png")
    studio.merge(mark, anna).save("merged-back.png")
    studio.merge(anna, mark, blocks="middle", strength=0.8).save("merged-middle.png")
    studio.merge(anna, mark, learned=False).save("merged-plain.png")

    studio.merge_sheet([anna], others, blocks="middle").save("one-with-many.png")
    sheet = studio.merge_sheet(others, [anna], blocks="middle")
    print(sheet.save("many-with-one.png"), "x".join(map(str, sheet.size)), "px")
