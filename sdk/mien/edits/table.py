"""Style tables: every content with every style, the sources along the edges.

The figure of style mixing (Karras et al. 2019, figure 3): faces that are kept go down the left,
faces that give their layers go along the top, and each cell is the mix of its row with its column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits.draw import draw
from mien.edits.latents import F32, Layers, mix, stack
from mien.errors import InputError
from mien_engines import Engine

U8 = NDArray[np.uint8]

PAPER = 250  # grey of the empty corner and of the gaps
GAP = 24  # parts of a cell's side that the gap between sources and mixes takes one of


def table_codes(
    contents: Sequence[ArrayLike],  # R of [L, D]
    styles: Sequence[ArrayLike],  # C of [L, D]
    *,
    layers: Layers,
    psi: ArrayLike,
) -> F32:
    """Return the codes of the cells, [R, C, L, D]. Raises InputError as `mix` does."""
    if not contents or not styles:
        raise InputError(
            f"{len(contents)} rows and {len(styles)} columns were given",
            hint="Give at least one of each",
        )
    columns = stack(styles)
    rows = (np.broadcast_to(code, columns.shape) for code in stack(contents))
    return np.stack([mix(row, columns, layers=layers, psi=psi) for row in rows])


def style_table(
    engine: Engine,
    contents: Sequence[ArrayLike],
    styles: Sequence[ArrayLike],
    *,
    layers: Layers,
    psi: ArrayLike,
) -> U8:
    """Draw the table, uint8 RGB [(R + 1) H + gap, (C + 1) W + gap, 3]."""
    cells = table_codes(contents, styles, layers=layers, psi=psi)
    count, width = cells.shape[-2:]
    every = [*stack(contents), *stack(styles), *cells.reshape(-1, count, width)]
    pictures = draw(engine, np.stack(every))
    rows, columns = len(contents), len(styles)
    edges, mixed = pictures[: rows + columns], pictures[rows + columns :]
    return laid_out(edges[:rows], edges[rows:], mixed.reshape(rows, columns, *mixed.shape[1:]))


def laid_out(left: U8, top: U8, cells: U8) -> U8:
    """Put pictures [R, H, W, 3], [C, H, W, 3] and [R, C, H, W, 3] on one sheet, the cells last."""
    rows, columns, height, width, _ = cells.shape
    gap = max(1, height // GAP)
    sheet = np.full(((rows + 1) * height + gap, (columns + 1) * width + gap, 3), PAPER, np.uint8)
    sheet[height + gap :, :width] = left.reshape(-1, width, 3)
    sheet[:height, width + gap :] = np.concatenate(list(top), 1)
    for i, row in enumerate(cells):
        place = height + gap + i * height
        sheet[place : place + height, width + gap :] = np.concatenate(list(row), 1)
    return sheet
