"""What a model card is made of, and how it is written.

A module of zoo.cards measures one network as it ships and hands over a Card. Its sheet shows only
what networks of the project drew, since the faces they learnt from are not ours to publish; the
same sheet with those faces above it goes to RUN/beside.jpg, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import platform
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from zoo.training import Record, load

U8 = NDArray[np.uint8]

HERE = Path(__file__).parent
WIDTH = 100  # characters, of a card's lines
LINE = 20  # px, of a row's label
PAPER, INK = 250, (40, 40, 40)
SHEET, BESIDE = "contact.jpg", "beside.jpg"
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 92)


@dataclass(frozen=True)
class Card:
    """A card's content.

    what: a paragraph: layout, sizes, licence.
    figures: name -> value, measured on held-out data.
    remarks: name -> text: data, recipe, limits, use.
    sheet: label -> pictures, uint8 RGB [N, H, W, 3], all of one height in a row.
    beside: the same for rows that may not be published, drawn above the sheet in RUN/beside.jpg.
    """

    title: str
    what: str
    figures: Mapping[str, str]
    remarks: Mapping[str, str]
    sheet: Mapping[str, U8] = field(default_factory=dict)
    beside: Mapping[str, U8] = field(default_factory=dict)


def machine(numbers: str = "bfloat16") -> str:
    """Where it was trained, and in which numbers, as cards say it."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}, torch {torch.__version__}, {numbers}) "
        "that were shared with other work"
    )


def write_card(card: Card, folder: Path, beside: Path) -> None:
    """Write card.md and contact.jpg to folder, and the sheet with real pictures to beside."""
    folder.mkdir(parents=True, exist_ok=True)
    if card.sheet:
        write_sheet(card.sheet, folder / SHEET)
        write_sheet({**card.beside, **card.sheet}, beside)
    (folder / "card.md").write_text(_text(card))


def write_sheet(rows: Mapping[str, U8], path: Path) -> None:
    """Write rows of pictures, each under its label; shorter rows end early."""
    width = max(strip.shape[0] * strip.shape[2] for strip in rows.values())
    strips = []
    for text, pictures in rows.items():
        strip = np.concatenate(list(pictures), 1)
        missing = width - strip.shape[1]
        strip = np.pad(strip, ((0, 0), (0, missing), (0, 0)), constant_values=PAPER)
        label = np.full((LINE, width, 3), PAPER, np.uint8)
        cv2.putText(label, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        strips += [label, strip]
    cv2.imwrite(str(path), np.concatenate(strips)[:, :, ::-1], JPEG)


def _text(card: Card) -> str:
    sheet = f"![contact sheet]({SHEET})\n\n" if card.sheet else ""
    table = "\n".join(f"| {what} | {value} |" for what, value in card.figures.items())
    remarks = "\n".join(_filled(f"- **{name}**: {x}", "  ") for name, x in card.remarks.items())
    head = f"# {card.title}\n\n{_filled(card.what)}\n\n{sheet}"
    return f"{head}| figure | value |\n| --- | --- |\n{table}\n\n{remarks}\n"


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, subsequent_indent=indent)


def main(name: str, make: Callable[[Record, Path], Card], description: str | None) -> None:
    """Run a module of zoo.cards: measure, and write to zoo/NAME."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/")
    options = parser.parse_args()
    record, _ = load(options.run)
    card = make(record, options.data)
    write_card(card, HERE / name, options.run / BESIDE)
