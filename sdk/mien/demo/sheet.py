"""A contact sheet: pictures in rows, each with a line under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 256  # px of a cell's picture
GAP, LINE = 12, 26  # px between cells, and of the line of text
PAPER, INK = (250, 249, 246), (40, 40, 44)


@dataclass(frozen=True)
class Cell:
    """A picture, uint8 RGB [H, W, 3], and what it is."""

    caption: str
    picture: NDArray[np.uint8]


def draw_sheet(rows: Sequence[Sequence[Cell]]) -> NDArray[np.uint8]:
    """Draw rows of cells; pictures are scaled to fit, never cropped. Returns uint8 RGB."""
    columns = max(len(row) for row in rows)
    width = GAP + columns * (SIDE + GAP)
    height = GAP + len(rows) * (SIDE + LINE + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            left, top = GAP + j * (SIDE + GAP), GAP + i * (SIDE + LINE + GAP)
            picture = _fitted(cell.picture)
            offset = (SIDE - picture.width) // 2, (SIDE - picture.height) // 2
            sheet.paste(picture, (left + offset[0], top + offset[1]))
            caption = _shortened(cell.caption, font)
            pen.text((left + SIDE / 2, top + SIDE + 5), caption, INK, font, anchor="ma")
    return np.asarray(sheet)


def _fitted(picture: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(picture)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while font.getlength(text) > SIDE and len(text) > 4:
        text = text[:-2].rstrip("…") + "…"
    return text
