"""The card of adain: python -m zoo.cards.adain RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import Studio
from zoo.card import Card, machine, main
from zoo.styles import STYLES, draw
from zoo.training import Record

U8 = NDArray[np.uint8]

SIDES = (256, 512)
SHOWN = 160  # px
SEEDS = (8, 11, 32)


def card(record: Record, data: Path) -> Card:
    """Measure and show the shipped bundle on faces and styles that it has not seen."""
    styles = {name: draw(name) for name in STYLES}
    with Studio("demo", "adain") as studio:
        faces = [studio.render(studio.sample(seed)).array for seed in SEEDS]
        sheet = {
            f"{name}, at {side} px": _row(studio, faces, style, side)
            for side in SIDES
            for name, style in styles.items()
        }
    return Card(
        "adain: style transfer in one pass",
        _what(),
        {name: f"{value:.3f}" for name, value in record.log[-1].items() if name != "step"},
        _remarks(record),
        sheet,
    )


def _row(studio: Studio, faces: list[U8], style: U8, side: int) -> U8:
    """The style, then each face in it, drawn at side px."""
    given = _scaled(style, side)
    drawn = [studio.stylize(_scaled(face, side), given).array for face in faces]
    return np.stack([_scaled(x, SHOWN) for x in (given, *drawn)])


def _scaled(picture: U8, side: int) -> U8:
    method = cv2.INTER_CUBIC if side > len(picture) else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method), np.uint8)


def _what() -> str:
    return """\
An encoder of VGG's layout to relu3_1 (mien's own, see `vgg`) and a decoder of three stages. Huang
and Belongie 2017. Made by this project, licensed as it is (Apache-2.0)."""


def _remarks(record: Record) -> dict[str, str]:
    return {
        "Figures": """\
on held-out crops. content: mean error of the features asked for, over their mean; style: three
  times that of the moments of the teacher's stages; own: error of pictures in their own style.""",
        "Data": "crops of synthetic faces, and of paintings and patterns as styles.",
        "Recipe": f"""\
`zoo/adain.py`, {record.step:,} steps of batch 8 in {record.minutes:.0f} minutes; {machine()}.""",
        "Sheet": """\
the four patterns of `zoo/styles.py`, which were not trained on, then faces of the demo generator
  in each style, with the style's palette as `mien stylize` gives it.""",
        "Limits": "small: fine texture comes out simplified; strong outlines may ring.",
        "Use": "demonstrations, tests, and video in real time.",
    }


if __name__ == "__main__":
    main("adain", card, __doc__)
