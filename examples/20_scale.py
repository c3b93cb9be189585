"""Run verbs over many pictures, in processes of this machine; without local=True, on Ray.

python examples/20_scale.py

A second run does only what is missing; what fails is listed and does not stop the others.
"""

from __future__ import annotations

from pathlib import Path

import mien
from mien.scale import run

# Each worker is a process that imports this file, so the work is under this line.
if __name__ == "__main__":
    photos = Path("photos")
    photos.mkdir(exist_ok=True)
    with mien.Studio("demo") as studio:
        for seed in range(6):
            studio.render(studio.sample(seed)).save(photos / f"{seed}.png")
    (photos / "broken.jpg").write_bytes(b"no picture")

    how = {"style": "mosaic", "strength": 0.8}
    report = run("stylize", photos, "drawn", options=how, local=True, workers=2)
    print(report.table())
    again = run("stylize", photos, "drawn", options=how, local=True, workers=2)
    print(f"again: {again.done} done, {again.kept} kept")  # drawn/results has them by name

    # A row an item, a column an argument; the same from a .csv.
    rows = [f'{{"content": "photos/{i}.png", "pattern": "photos/{i + 1}.png"}}' for i in range(4)]
    Path("pairs.jsonl").write_text("\n".join(rows))
    merged = run("merge", "pairs.jsonl", "merged", aligned=True, local=True, workers=1)
    print(f"{merged.done} merged, {merged.items_per_second:.1f} a second")
