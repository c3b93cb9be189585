"""The card of vgg: python -m zoo.cards.vgg RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

from zoo.card import Card, machine, main
from zoo.training import Record
from zoo.vgg import STAGES, WIDTHS


def card(record: Record, data: Path) -> Card:
    """Say what the student explains of its teacher."""
    figures = {
        f"{name}, of the teacher's variance": f"{value:.3f}"
        for name, value in record.log[-1].items()
        if name != "step"
    }
    return Card("vgg: features of VGG's layout", _what(), figures, _remarks(record))


def _what() -> str:
    widths = ", ".join(f"{n} x {w}" for n, w in zip(STAGES, WIDTHS, strict=True))
    return f"""\
An encoder to relu5_1 with VGG-19's stages, of {widths} channels. Made by this project, licensed as
it is (Apache-2.0)."""


def _remarks(record: Record) -> dict[str, str]:
    return {
        "Data": "crops of synthetic faces and of paintings; held-out crops give the figures.",
        "Recipe": f"""\
`zoo/vgg.py`: the student's maps, through 1x1 convolutions that are not kept, fitted to those of a
  VGG-19 that was distilled to a sixteenth (Wang et al. 2020); {record.step:,} steps of batch 16 in
  {record.minutes:.0f} minutes; {machine()}.""",
        "Limits": """\
figures are of normalised channels, weak ones counting as much as strong ones. It has not seen
  ImageNet, and knows no classes.""",
        "Use": "perceptual losses, Gatys, and the encoder of `adain`.",
    }


if __name__ == "__main__":
    main("vgg", card, __doc__)
