"""Draw the pictures of draw.md, mix.md, express.md and the pages of the verbs without codes.

    python docs/images/draw.py [NAME ...] [--out FOLDER]

NAME is that of the page or of the verb; none means all. Needs the networks: python
export/zoo/ship.py. Faces are samples of the demo's generator, so that all may be published.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import mien
from mien import Studio
from mien.bundles import built_in_styles, style_path
from mien.edits.swap import PUBLISHED
from mien.images import Picture, load, save

WOMEN, MEN = (8, 7, 18), (11, 3, 14)  # seeds, told apart by eye
COLUMNS = 6
AXES, STRENGTHS = (0, 1, 4), (-3, -1.5, 0, 1.5, 3)
GAP, PAPER = 12, 250
PSI = (0.0, 0.25, 0.5, 0.7, 1.0, 1.3)
STYLED = 400  # px that styles are drawn at; the page shows 160


def sampled(studio: Studio, seeds: tuple[int, ...]) -> list[Picture]:
    return [studio.render(studio.sample(seed)) for seed in seeds]


def truncation(studio: Studio, out: Path) -> None:
    """A row for each seed, psi from 0 to 1."""
    rows = [
        np.concatenate([studio.render(studio.sample(seed, psi=psi)).array for psi in PSI], 1)
        for seed in (7, 11)
    ]
    save(np.concatenate(rows), out / "truncation.jpg", edits=["render"])


def beside(pictures: list[np.ndarray], gap_after: int) -> np.ndarray:
    """A row, with a gap after so many pictures."""
    gap = np.full((len(pictures[0]), GAP, 3), PAPER, np.uint8)
    return np.concatenate([*pictures[:gap_after], gap, *pictures[gap_after:]], 1)


def mix(studio: Studio, out: Path) -> None:
    """Two faces; the first with coarse, middle, fine layers of the second, and the reverse."""
    one, two = studio.sample(WOMEN[0]), studio.sample(MEN[0])
    rows = []
    for own, other in ((one, two), (two, one)):
        mixed = [studio.mix(own, other, layers=name) for name in ("coarse", "middle", "fine")]
        drawn = [studio.render(own), studio.render(other), *mixed]
        rows.append(beside([picture.array for picture in drawn], 2))
    save(np.concatenate(rows), out / "mix.jpg", edits=["mix"])


def move(studio: Studio, out: Path) -> None:
    """A row for each of three principal axes of w, a column for each strength."""
    w = np.stack([studio.sample(seed, psi=1)[0] for seed in range(1000)])
    _, sizes, axes = np.linalg.svd(w - w.mean(0), full_matrices=False)
    face = studio.sample(WOMEN[0])
    rows = []
    for axis in AXES:
        direction = axes[axis] * sizes[axis] / np.sqrt(len(w))
        codes = [mien.move(face, direction, strength) for strength in STRENGTHS]
        rows.append(np.concatenate([studio.render(code).array for code in codes], 1))
    save(np.concatenate(rows), out / "move.jpg", edits=["move"])


def make_expression(studio: Studio, out: Path) -> None:
    """A pair of pictures, and four faces with the expression that was made of it."""
    giver = studio.sample(32)
    neutral, grinning = studio.render(giver), studio.express(giver, "happy")
    made = studio.make_expression([neutral.array], [grinning.array], name="grin")
    codes = [studio.sample(seed) for seed in (*WOMEN[:2], *MEN[:2])]
    rows = (
        [neutral, *(studio.render(code) for code in codes)],
        [grinning, *(studio.express(code, made) for code in codes)],
    )
    drawn = [beside([picture.array for picture in row], 1) for row in rows]
    save(np.concatenate(drawn), out / "make-expression.jpg", edits=["express"])


def swap(studio: Studio, out: Path) -> None:
    """Rows: faces, donors, mixes of their middle layers, both kinds of swaps."""
    published = replace(PUBLISHED, steps=60, decay=0.97)
    columns = []
    for own, other in zip((8, 11, 4, 3, 14, 12, 46, 32), (4, 3, 8, 12, 32, 11, 8, 46), strict=True):
        code, donor = studio.sample(own), studio.sample(other)
        mixed = mien.mix(code, donor, layers="middle")
        face, identity = studio.render(code), studio.render(donor)
        swaps = [
            studio.swap(identity=identity, attributes=face, start=start, settings=settings).picture
            for start, settings in ((code, published), (mixed, None))
        ]
        columns.append(
            np.concatenate([p.array for p in (face, identity, studio.render(mixed), *swaps)])
        )
    save(np.concatenate(columns, 1), out / "swap.png", edits=["swap"])


def stylize(studio: Studio, out: Path) -> None:
    """A row for each face: the face, and itself in every style; above them the styles."""
    faces = [
        cv2.resize(p.array, (STYLED, STYLED), interpolation=cv2.INTER_CUBIC)
        for p in sampled(studio, (8, 11, 32))
    ]
    blank = np.full((STYLED, STYLED, 3), 250, np.uint8)
    styles = [load(style_path(name)) for name in built_in_styles()]
    small = [cv2.resize(x, (STYLED, STYLED), interpolation=cv2.INTER_AREA) for x in styles]
    rows = [np.concatenate([blank, *small], 1)]
    for face in faces:
        drawn = [studio.stylize(face, style).array for style in small]
        rows.append(np.concatenate([face, *drawn], 1))
    sheet = cv2.resize(np.concatenate(rows), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    save(np.asarray(sheet, np.uint8), out / "stylize.png", edits=["stylize"])


def merge(studio: Studio, out: Path) -> None:
    women, men = sampled(studio, WOMEN), sampled(studio, MEN)
    for name, blocks in (("merge", "all"), ("merge-middle", "middle")):
        studio.merge_sheet(women, men, blocks=blocks).save(out / f"{name}.jpg")


def translate(studio: Studio, out: Path) -> None:
    women, men = sampled(studio, WOMEN), sampled(studio, MEN)
    studio.translate_sheet(women, men, domain=1).save(out / "translate.jpg")
    studio.translate_sheet(men, women, domain=0).save(out / "translate-back.jpg")
    styles = [studio.face_style(reference=man, domain=1) for man in men]
    studio.translate_between(women[0], styles).save(out / "translate.webp")


def lookalikes(studio: Studio, out: Path) -> None:
    face = sampled(studio, WOMEN)[0]
    studio.lookalikes(face, 3 * COLUMNS, seed=7).sheet(COLUMNS).save(out / "lookalikes.jpg")


DRAWN: dict[str, Callable[[Studio, Path], None]] = {
    "draw": truncation,
    "mix": mix,
    "move": move,
    "make-expression": make_expression,
    "swap": swap,
    "stylize": stylize,
    "merge": merge,
    "translate": translate,
    "lookalikes": lookalikes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="none means all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    with Studio() as studio:
        for name in options.names or DRAWN:
            DRAWN[name](studio, options.out)


if __name__ == "__main__":
    main()
