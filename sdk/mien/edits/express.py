"""Giving a face an expression that another person's photographs showed.

System 1's formula: neutral and emotional photographs of one other person are projected, and their
difference is added to the target's code, w + strength * mask * (w_emotion - w_neutral). The mask
switches layers off; layer 0 is off unless asked for, since it brings glasses and pose along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mien.edits.directions import matching, moved
from mien.edits.expression import Expression, as_expression
from mien.edits.latents import F32, Layers, as_code, layer_mask, stack
from mien.errors import InputError
from mien_engines import Bundle

FIRST_LAYER = 1  # of those that are on by default
FRAMES = 12  # of an animation, one way
MAX_FRAMES = 1000


def express(
    code: ArrayLike,  # [L, D] or [N, L, D]
    expression: Expression | str | Path,
    strength: float = 1.0,
    *,
    layers: Layers | None = None,
) -> F32:  # shape of code
    """Return w + strength * mask * direction: the code with the expression.

    strength: 1 adds what the photographs showed, 0 changes no bit, below 0 does the opposite.
    layers: instead of the expression's own mask.

    Only shapes tell here whether the code is of the expression's generator; `studio.express` knows.

    Raises:
        ArchMismatch: an expression of another generator.
        InputError: no code, no such expression or layer.
    """
    ws, chosen = as_code(code), as_expression(expression)
    direction = matching(chosen.direction, ws)
    mask = chosen.mask if layers is None else layer_mask(layers, ws.shape[-2])
    return moved(ws, direction, strength, np.broadcast_to(mask, ws.shape[-2:-1]))


def expression_from_codes(
    neutral: Sequence[ArrayLike],  # of [L, D], one a pair
    emotional: Sequence[ArrayLike],
    *,
    name: str,
    layers: Layers | None = None,
    bundle: Bundle | None = None,
    sources: Sequence[str] = (),
    licence: str = "",
    note: str = "",
) -> Expression:
    """Return the mean of (emotional - neutral) over pairs of codes; each pair is one person's.

    layers: that it is added to; None means all but layer 0. bundle: whose codes these are.

    Raises InputError: no pairs, unequal counts, codes of different shapes.
    """
    if not neutral or len(neutral) != len(emotional):
        raise InputError(
            f"{len(neutral)} neutral and {len(emotional)} emotional faces were given",
            hint="Give as many of each: every pair shows one person",
        )
    if len({np.shape(code) for code in (*neutral, *emotional)}) > 1:
        raise InputError("the codes have different shapes", hint="Project all with one generator")
    direction = (stack(emotional) - stack(neutral)).mean(0)
    count = len(direction)
    return Expression(
        name=name,
        direction=direction,
        mask=layer_mask(range(FIRST_LAYER, count) if layers is None else layers, count),
        generator="" if bundle is None else bundle.name,
        generator_sha256="" if bundle is None else bundle.spec.source.sha256,
        sources=tuple(sources),
        licence=licence,
        note=note,
    )


def strengths_between(low: float, high: float, frames: int = FRAMES) -> list[float]:
    """Return strengths from low to high and back, so that an animation of them has no jump.

    The first and the last strength occur once: 2 * frames - 2 in all. The ends are slow (a raised
    cosine), as a face moves.
    """
    if not 2 <= frames <= MAX_FRAMES or not np.isfinite([low, high]).all():
        raise InputError(
            f"{frames} frames from {low} to {high}, expected 2 to {MAX_FRAMES}, finite ends"
        )
    way = (1 - np.cos(np.linspace(0, np.pi, frames))) / 2
    there = [float(low + (high - low) * t) for t in way]
    return there + there[-2:0:-1]
