"""Draw the picture of edit.md: parts of other faces, one at a time, all at once, and where.

    python docs/images/edit.py [--out FOLDER]

Faces are samples of the demo's generator, so that all may be published.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mien import Picture, Studio, locality_map

FACES = (8, 11)  # seeds of the rows
REFERENCES = {"eyes": 21, "brows": 33, "nose": 1, "mouth": 14}  # and of what gives each part
GAP, PAPER = 5, 250


def row(pictures: list[np.ndarray]) -> np.ndarray:
    gap = np.full((len(pictures[0]), GAP, 3), PAPER, np.uint8)
    return np.concatenate([x for p in pictures for x in (p, gap)][:-1], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    with Studio("demo") as studio:
        references = {part: studio.sample(seed) for part, seed in REFERENCES.items()}
        given = [studio.render(code).array for code in references.values()]
        paper = np.full_like(given[0], PAPER)
        rows = [row([paper, *given, paper])]
        for seed in FACES:
            face = studio.sample(seed)
            before = studio.render(face)
            edits = [studio.edit(face, code, part=part) for part, code in references.items()]
            whole = studio.edit_parts(face, references)
            where = [locality_map(before, edit.picture).array for edit in [*edits, whole]]
            rows.append(row([before.array, *(e.picture.array for e in edits), whole.picture.array]))
            rows.append(row([paper, *where]))
        sheet = np.concatenate(rows)
        large = Image.fromarray(sheet).resize((sheet.shape[1] * 3 // 2, sheet.shape[0] * 3 // 2))
        Picture(np.asarray(large), tuple(f"edit {part}" for part in references)).save(
            options.out / "edit.png"
        )
        studio.show_catalogue("demo", seeds=[8]).save(options.out / "catalogue.png")


if __name__ == "__main__":
    main()
