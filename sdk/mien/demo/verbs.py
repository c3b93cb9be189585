"""What the demo shows of the verbs beyond projecting and mixing: a picture of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.bundles import built_in
from mien.demo.sheet import Cell
from mien.edits.gatys_settings import GatysSettings
from mien.edits.latents import mix
from mien.edits.swap import SwapSettings
from mien.images import Picture
from mien.studio import Studio

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

STYLED = 256  # px of the faces that take a style
PAINTING = GatysSettings(size=STYLED, steps=(60, 20))
SWAPPING = SwapSettings(steps=30)


@dataclass(frozen=True)
class Face:
    """A face as the verbs take it: crops at the networks' size and at STYLED, and its code."""

    crop: U8
    large: U8
    code: F32


@dataclass(frozen=True)
class Verb:
    """What is drawn of a face and its partner, and which of mien's bundles that takes."""

    caption: str
    bundle: str
    draw: Callable[[Studio, Face, Face], Picture]


def _edited(studio: Studio, face: Face, other: Face) -> Picture:
    return studio.edit(face.code, other.code, part="eyes").picture


def _swapped(studio: Studio, face: Face, other: Face) -> Picture:
    start = mix(face.code, other.code, layers=SWAPPING.layers)
    found = studio.swap(
        identity=other.crop, attributes=face.crop, settings=SWAPPING, start=start, every=10
    )
    return found.picture


def _painted(studio: Studio, face: Face, _: Face) -> Picture:
    return studio.gatys(face.large, "mosaic", PAINTING).picture


VERBS = (
    Verb("express: happy", "demo", lambda studio, face, _: studio.express(face.code, "happy")),
    Verb("edit: the other's eyes", "demo", _edited),
    Verb("swap: the other's identity", "demo", _swapped),
    Verb("merge: with the other", "vaegan", lambda s, face, other: s.merge(face.crop, other.crop)),
    Verb("lookalikes: one", "lookalike", lambda s, face, _: s.lookalikes(face.crop, 1).picture(0)),
    # By the domain's mean style: nothing is known of who is on the pictures.
    Verb("translate: as a man", "starganv2", lambda s, face, _: s.translate(face.crop, domain=1)),
    Verb("translate: as a woman", "starganv2", lambda s, face, _: s.translate(face.crop, domain=0)),
    Verb("stylize: waves", "adain", lambda studio, face, _: studio.stylize(face.large, "waves")),
    Verb(
        "gatys: mosaic", "vgg", lambda s, face, _: s.gatys(face.large, "mosaic", PAINTING).picture
    ),
)


def verb_rows(
    studio: Studio, faces: Sequence[Face], *, own_generator: bool
) -> tuple[list[list[Cell]], list[str]]:
    """Return a row for each of two faces, and the edits; those that this copy has networks for.

    own_generator: the codes are of mien's own generator, which expressions and swaps are for.
    """
    shown = [v for v in VERBS if v.bundle in built_in() and (own_generator or v.bundle != "demo")]
    one, two = faces
    rows = [
        [Cell(verb.caption, verb.draw(studio, face, other).array) for verb in shown]
        for face, other in ((one, two), (two, one))
    ]
    return rows, [verb.caption.partition(":")[0] for verb in shown]
