"""AdaIN style transfer: a picture takes the colours and the texture of others, in one pass.

Huang and Belongie 2017 (arXiv 1703.06868): the feature maps of the content are given the mean and
the deviation of the style's, and a decoder draws them (Eq. 8 to 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.edits.colour import Palette, moved_colours, palette_of, with_hues_of
from mien.errors import InputError
from mien.provenance import digest
from mien_engines import Engine

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

LARGEST = 4096  # px, of a side


@dataclass(frozen=True, eq=False)
class Style:
    """What is taken of a picture: mean and deviation of each feature plane, [1, C], its palette.

    source: of the picture, as `mien.provenance.digest` names it; "" of a blend.
    """

    mean: F32
    deviation: F32
    palette: Palette
    source: str = ""


def style_of(engine: Engine, picture: U8) -> Style:  # [H, W, 3], RGB
    """Return the style of a picture of any size, as far as it is not tiny. Raises InputError."""
    found = engine.run("style", picture=_fitted(engine, picture, "style")[None])
    return Style(found["mean"], found["deviation"], palette_of(picture), digest(picture))


def blended(styles: Sequence[Style], weights: Sequence[float] | None = None) -> Style:
    """Return a style between several, by weights that are made to sum 1; None weighs all alike.

    The mean and the deviation are averaged, as in section 7.3 of the paper the feature maps are.
    Raises InputError without styles, for another number of weights, or where they sum to nothing.
    """
    shares = np.ones(len(styles)) if weights is None else np.asarray(weights, float)
    if not styles or shares.shape != (len(styles),):
        raise InputError(
            f"{len(styles)} styles with {shares.size} weights", hint="Give each style one weight"
        )
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise InputError(
            f"the weights are {shares.tolist()}, expected numbers from 0 whose sum is above 0"
        )
    shares = shares / shares.sum()
    mean, deviation = (
        np.einsum("s,snc->nc", shares, np.stack([getattr(style, name) for style in styles]))
        for name in ("mean", "deviation")
    )
    palettes = [style.palette for style in styles]
    colours = np.einsum("s,sc->c", shares, np.stack([palette.mean for palette in palettes]))
    root = np.einsum("s,sij->ij", shares, np.stack([palette.root for palette in palettes]))
    return Style(mean.astype(np.float32), deviation.astype(np.float32), Palette(colours, root))


def stylize(
    engine: Engine,
    content: U8,  # [H, W, 3], RGB
    style: Style,
    *,
    strength: float = 1.0,
    match_colour: float = 1.0,
    keep_colour: bool = False,
) -> U8:  # [H, W, 3]
    """Draw content in a style.

    Args:
        strength: 0 redraws the content, 1 takes the whole style (the paper's alpha).
        match_colour: how far what is drawn is then given the mean and the covariance of the
            style's colours, 0 to 1. The paper has 0; a small network misses the palette.
        keep_colour: take lightness alone from the style; hues stay the content's (Gatys et al.
            2016, arXiv 1606.05897, section 4.2, in CIELAB).

    Raises InputError for a strength beyond 0 to 1, and a content too small or too large.
    """
    for name, value in (("strength", strength), ("match_colour", match_colour)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}, expected 0 to 1")
    fitted = _fitted(engine, content, "content")
    drawn = engine.run(
        "transfer",
        picture=fitted[None],
        mean=style.mean,
        deviation=style.deviation,
        alpha=np.array([strength], np.float32),
    )["drawn"][0]
    cut: U8 = np.ascontiguousarray(drawn[: content.shape[0], : content.shape[1]])
    if match_colour * strength > 0:
        cut = moved_colours(cut, style.palette, match_colour * strength)
    return with_hues_of(content, cut) if keep_colour else np.ascontiguousarray(cut)


def stylized_under_masks(
    engine: Engine,
    content: U8,  # [H, W, 3], RGB
    styles: Sequence[Style],
    masks: Sequence[F32],  # each [H, W], 0..1
    *,
    strength: float = 1.0,
    match_colour: float = 1.0,
    keep_colour: bool = False,
) -> U8:  # [H, W, 3]
    """Draw each style where its mask is 1, and the content itself where no mask is.

    Deviation from the paper, which gives regions of the feature map their styles (section 7.3):
    whole pictures are drawn and blended, so that styles do not leak across the masks' edges.

    Raises InputError for another number or shape of masks.
    """
    if len(masks) != len(styles) or any(mask.shape != content.shape[:2] for mask in masks):
        shapes = [mask.shape for mask in masks]
        raise InputError(
            f"the masks have shapes {shapes}, expected {len(styles)} of {content.shape[:2]}",
            hint="Give each style a mask of the content's height and width",
        )
    total = np.maximum(sum(masks, np.zeros(content.shape[:2], np.float32)), 1)
    mixed = content * (1 - sum(masks, np.zeros_like(total)) / total)[:, :, None]
    for style, mask in zip(styles, masks, strict=True):
        drawn = stylize(
            engine, content, style,
            strength=strength, match_colour=match_colour, keep_colour=keep_colour,
        )  # fmt: skip
        mixed += drawn * (mask / total)[:, :, None]
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _fitted(engine: Engine, picture: U8, name: str) -> U8:
    """Continue a picture by reflection, right and below, to sides that come back as they were."""
    properties = engine.bundle.spec.properties
    multiple, least = properties["multiple"], properties["least_side"]
    assert isinstance(multiple, int)
    assert isinstance(least, int)
    height, width = picture.shape[:2]
    if min(height, width) < least or max(height, width) > LARGEST:
        raise InputError(
            f"the {name} has {width} x {height} px, expected sides of {least} to {LARGEST} px",
            hint="Scale it",
        )
    below, right = -height % multiple, -width % multiple
    return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="reflect")
