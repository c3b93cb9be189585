"""report.html: the demo's pictures and timings on one page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.demo.sheet import Cell
from mien.whole_files import write_whole

LONGEST = 512  # px: photographs are scaled down to this for the page

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
       color: #28282c; background: #faf9f6 }
h1 { font-weight: 600; margin-bottom: 0 }
.row { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0 }
figure { margin: 0; width: 12rem }
img { width: 12rem; height: 12rem; object-fit: contain; background: #efece4; border-radius: 4px }
figcaption { font-size: .85rem; text-align: center }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd8cc;
         vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
"""


def write_page(path: Path, record: Mapping[str, Any], rows: Sequence[Sequence[Cell]]) -> None:
    """Write the page; nothing half-written is left. Raises InputError where it cannot."""
    write_whole(path, _page(record, rows))


def _page(record: Mapping[str, Any], rows: Sequence[Sequence[Cell]]) -> str:
    pictures = "\n".join(
        f'<div class="row">{"".join(_figure(cell) for cell in row)}</div>' for row in rows
    )
    timings = "".join(
        f'<tr><td>{escape(what)}</td><td class="number">{seconds:.2f} s</td></tr>'
        for what, seconds in record["timings_seconds"].items()
    )
    engines = "".join(_engine(engine) for engine in record["engines"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mien demo</title>
<meta name="generator" content="mien"><style>{STYLE}</style></head><body>
<h1>mien demo</h1>
<p>Two portraits, aligned, projected into the generator's latent space, mixed layer by layer, and
edited with every network that comes with mien. All that is not a photograph or a crop of one was
drawn by networks.</p>
{pictures}
<h2>Timings</h2>
<table>{timings}<tr><th>in all</th><td class="number">{record["seconds"]:.2f} s</td></tr></table>
<h2>Engines</h2>
<table><tr><th>graph</th><th>backend</th><th>one call, batch 1</th><th>not taken</th></tr>
{engines}</table>
</body></html>
"""


def _figure(cell: Cell) -> str:
    return (
        f'<figure><img alt="{escape(cell.caption, quote=True)}" src="{_data_url(cell.picture)}">'
        f"<figcaption>{escape(cell.caption)}</figcaption></figure>"
    )


def _engine(engine: Mapping[str, Any]) -> str:
    seconds = engine["seconds"]
    call = "not measured" if seconds is None else f"{1e3 * seconds:.1f} ms"
    refused = "<br>".join(f"{escape(k)}: {escape(v)}" for k, v in engine["refused"].items())
    return (
        f"<tr><td>{escape(engine['graph'])}</td>"
        f"<td>{escape(engine['backend'])}, {escape(engine['precision'])}</td>"
        f'<td class="number">{call}</td><td>{refused}</td></tr>'
    )


def _data_url(picture: NDArray[np.uint8]) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
