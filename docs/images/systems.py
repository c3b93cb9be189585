"""Draw the pictures of merge.md, translate.md and lookalikes.md, of faces that the demo drew.

    python docs/images/systems.py [NAME ...] [--out FOLDER]

NAME is merge, translate or lookalikes; none means all. Needs the networks: python
export/zoo/ship.py. Faces are samples of the demo's generator, so that all may be published.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mien import Studio
from mien.images import Picture

WOMEN, MEN = (8, 7, 18), (11, 3, 14)  # seeds, told apart by eye
COLUMNS = 6


def sampled(studio: Studio, seeds: tuple[int, ...]) -> list[Picture]:
    return [studio.render(studio.sample(seed)) for seed in seeds]


def merge(studio: Studio, out: Path) -> None:
    women, men = sampled(studio, WOMEN), sampled(studio, MEN)
    for name, blocks in (("merge", "all"), ("merge-middle", "middle")):
        studio.merge_sheet(women, men, blocks=blocks).save(out / f"{name}.png")
    studio.merge_sheet(women, men, learned=False).save(out / "merge-plain.png")


def translate(studio: Studio, out: Path) -> None:
    women, men = sampled(studio, WOMEN), sampled(studio, MEN)
    studio.translate_sheet(women, men, domain=1).save(out / "translate.png")
    studio.translate_sheet(men, women, domain=0).save(out / "translate-back.png")
    styles = [studio.face_style(reference=man, domain=1) for man in men]
    studio.translate_between(women[0], styles).save(out / "translate.webp")


def lookalikes(studio: Studio, out: Path) -> None:
    face = sampled(studio, WOMEN)[0]
    studio.lookalikes(face, 3 * COLUMNS, seed=7).sheet(COLUMNS).save(out / "lookalikes.png")
    studio.lookalike_walk(face, 0, steps=12).animation().save(out / "lookalikes.webp")


DRAWN: dict[str, Callable[[Studio, Path], None]] = {
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
