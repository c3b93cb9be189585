"""Draw the pictures of draw.md, swap.md, stylize.md, merge.md, translate.md and lookalikes.md.

    python docs/images/draw.py [NAME ...] [--out FOLDER]

NAME is that of the page; none means all. Needs the networks: python export/zoo/ship.py. Faces are
samples of the demo's generator, so that all may be published.
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
        studio.merge_sheet(women, men, blocks=blocks).save(out / f"{name}.png")


def translate(studio: Studio, out: Path) -> None:
    women, men = sampled(studio, WOMEN), sampled(studio, MEN)
    studio.translate_sheet(women, men, domain=1).save(out / "translate.jpg")
    studio.translate_sheet(men, women, domain=0).save(out / "translate-back.jpg")
    styles = [studio.face_style(reference=man, domain=1) for man in men]
    studio.translate_between(women[0], styles).save(out / "translate.webp")


def lookalikes(studio: Studio, out: Path) -> None:
    face = sampled(studio, WOMEN)[0]
    studio.lookalikes(face, 3 * COLUMNS, seed=7).sheet(COLUMNS).save(out / "lookalikes.png")


DRAWN: dict[str, Callable[[Studio, Path], None]] = {
    "draw": truncation,
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
