"""Merging two faces: one gives the content, the other the place in latent space.

System 0: both are encoded by a VAE, the content's code is normalised and put where the pattern's
lies (AdaIN of codes), and a generator draws it. Nothing is published but that sentence; the network
is this project's reading of it. Its generator takes a code in each block, so that a merge may be
had in some sizes of detail alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mien.edits.crops import size_of
from mien.edits.draw import BATCH
from mien.edits.ranges import Range, chosen
from mien.edits.table import laid_out
from mien.errors import InputError
from mien_engines import Engine

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

FAMILY = "vaegan"
MIDDLE = (16, 32)  # px: features, neither the shape of the head nor the colours


def block_px(engine: Engine) -> tuple[int, ...]:
    """Return the resolution of each of the generator's blocks, in px."""
    resolution, blocks = size_of(engine), size_of(engine, "blocks")
    return tuple(resolution >> (blocks - 1 - i) for i in range(blocks))


def block_weights(engine: Engine, blocks: Range, strength: float) -> F32:  # [B]
    """Return how much of the merge each block takes: strength in those chosen, else nothing.

    blocks: "coarse" (below 16 px), "middle" (16 and 32 px), "fine", "all"; numbers; or px, as in
        `mien.layer_range`.

    Raises InputError for blocks that do not exist, and a strength beyond 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength}, expected 0 to 1")
    sides = block_px(engine)
    names = {
        "coarse": [i for i, px in enumerate(sides) if px < MIDDLE[0]],
        "middle": [i for i, px in enumerate(sides) if MIDDLE[0] <= px <= MIDDLE[1]],
        "fine": [i for i, px in enumerate(sides) if px > MIDDLE[1]],
        "all": range(len(sides)),
    }
    taken = chosen(blocks, names, sides, noun="block", owner="generator")
    if not taken:
        raise InputError(
            f"blocks {blocks!r} name none: this generator's are of {', '.join(map(str, sides))} px"
        )
    weights = np.zeros(len(sides), np.float32)
    weights[list(taken)] = strength
    return weights


def merge(
    engine: Engine,
    contents: U8,  # [N, R, R, 3], RGB
    patterns: U8,  # [N, R, R, 3]
    *,
    strength: float = 1.0,
    blocks: Range = "all",
    learned: bool = True,
) -> U8:  # [N, R, R, 3]
    """Merge pairs of faces, in one pass.

    Args:
        strength: 0 draws the content again, 1 merges.
        blocks: those that take the merge, as in `block_weights`; the others keep the content.
        learned: with the trained merge; else without parameters, z = s_p (z_c - m_c) / s_c + m_p,
            with mean m and deviation s over each code.

    Raises InputError as `block_weights` does.
    """
    weight = block_weights(engine, blocks, strength)
    outputs = engine.run(_graph(learned), content=contents, pattern=patterns, weight=weight)
    drawn: U8 = outputs["picture"]
    return drawn


def merge_sheet(
    engine: Engine,
    contents: U8,  # [N, R, R, 3], RGB
    patterns: U8,  # [M, R, R, 3]
    *,
    strength: float = 1.0,
    blocks: Range = "all",
    learned: bool = True,
    callback: Callable[[int, int], object] | None = None,
) -> U8:  # [(N + 1) R + gap, (M + 1) R + gap, 3]
    """Merge every content (rows) with every pattern (columns); each face is encoded once.

    callback: called with how many are drawn, and of how many. The rest is as in `merge`.
    """
    weight = block_weights(engine, blocks, strength)
    own, other = (_encoded(engine, pictures) for pictures in (contents, patterns))
    pairs = np.array(list(product(range(len(own)), range(len(other)))))
    drawn = []
    for part in _batches(pairs):
        outputs = engine.run(
            f"{_graph(learned)}_codes",
            content_mu=own[part[:, 0]],
            pattern_mu=other[part[:, 1]],
            weight=weight,
        )
        drawn.append(outputs["picture"])
        if callback is not None:
            callback(sum(map(len, drawn)), len(pairs))
    cells = np.concatenate(drawn).reshape(len(own), len(other), *contents.shape[1:])
    return laid_out(contents, patterns, cells)


def _graph(learned: bool) -> str:
    return "merge" if learned else "merge_plain"


def _encoded(engine: Engine, pictures: U8) -> F32:  # -> [N, latent]
    return np.concatenate([engine.run("encode", picture=part)["mu"] for part in _batches(pictures)])


def _batches(rows: NDArray[np.generic]) -> Sequence[NDArray[np.generic]]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
