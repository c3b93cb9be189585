"""Whose colours a stylised picture has: the style's palette, or two ways to keep the content's.

Gatys et al. 2016 ("Preserving Color in Neural Artistic Style Transfer", arXiv 1606.05897).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

LEAST = 1e-3  # of a variance, in levels: of a picture of one colour, nothing is spread


def with_hues_of(content: U8, drawn: U8) -> U8:  # [H, W, 3], RGB, each
    """Give drawn the hues of content: lightness alone is the style's (section 4.2, in CIELAB)."""
    lightness = cv2.cvtColor(np.ascontiguousarray(drawn), cv2.COLOR_RGB2LAB)[:, :, :1]
    hues = cv2.cvtColor(np.ascontiguousarray(content), cv2.COLOR_RGB2LAB)[:, :, 1:]
    joined = np.concatenate([lightness, hues], 2)
    return np.asarray(cv2.cvtColor(joined, cv2.COLOR_LAB2RGB), np.uint8)


def with_colours_of(content: U8, style: U8) -> U8:  # [H, W, 3] and [S, T, 3], RGB -> [S, T, 3]
    """Give style the mean and the covariance of content's colours, before it is taken from.

    Section 4.1, equations 3 and 5: the linear map between the colours of both, by the symmetric
    roots of their covariances ("image analogies").
    """
    return moved_colours(style, palette_of(content))


@dataclass(frozen=True, eq=False)
class Palette:
    """The mean colour [3], and the symmetric root of the colours' covariance [3, 3], in levels."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]


def moved_colours(picture: U8, palette: Palette, amount: float = 1.0) -> U8:  # [H, W, 3]
    """Give a picture the mean and the covariance of a palette; less of it by a lesser amount."""
    own = palette_of(picture)
    turn = amount * (np.linalg.inv(own.root) @ palette.root) + (1 - amount) * np.eye(3)
    shift = amount * palette.mean + (1 - amount) * own.mean - own.mean @ turn
    matched: NDArray[np.float32] = cv2.transform(
        picture.astype(np.float32), np.column_stack([turn.T, shift])
    )
    levels: U8 = np.rint(matched).clip(0, 255).astype(np.uint8)
    return levels


def palette_of(picture: U8) -> Palette:
    """Return the palette of a picture, RGB."""
    colours = picture.reshape(-1, 3).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(colours.T, bias=True))
    root = (vectors * np.sqrt(values.clip(min=LEAST))) @ vectors.T
    return Palette(colours.mean(0), root)
