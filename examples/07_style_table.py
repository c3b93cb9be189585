"""Draw every face of a column with the layers of every face of a row, on one sheet.

python examples/07_style_table.py
"""

from __future__ import annotations

import mien

with mien.Studio("demo") as studio:
    contents = [studio.sample(seed) for seed in (1, 4)]  # kept: pose and shape
    styles = [studio.sample(seed) for seed in (3, 12, 14)]  # give their finer layers
    sheet = studio.style_table(contents, styles, layers="32px+")
    print(sheet.save("table.png"), "x".join(map(str, sheet.size)), "px")

    # psi is the weight of the content; here it fades from all to nothing, layer by layer.
    fading = [1 - i / (studio.num_ws - 1) for i in range(studio.num_ws)]
    studio.mix(contents[0], styles[0], layers="all", psi=fading).save("fading.png")
