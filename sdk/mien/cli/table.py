"""`mien table`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.mix import Layers, Psi, weight
from mien.cli.options import Backend, Bundle, Json, Mark, answer


def command(
    rows: Annotated[
        list[str], typer.Option("--rows", help="A face that is kept: a code, or a seed. Repeat it.")
    ],
    columns: Annotated[
        list[str], typer.Option("--columns", help="A face to take layers from. Repeat it.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sheet.")],
    layers: Layers = "fine",
    psi: Psi = "0",
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw every row's face with the layers of every column's, the sources along the edges.

    Example: mien table --rows anna.npy --rows 4 --columns mark.npy --columns 7 -o table.png
    """
    from mien.edits.latents import F32, load_code
    from mien.errors import InputError
    from mien.studio import Studio

    level = weight(psi)
    with Studio(bundle, backend=backend) as studio:

        def code(text: str) -> F32:
            if "," in text:
                raise InputError(f"{text!r} is no code and no seed", hint="Repeat the option")
            return studio.sample(int(text)) if text.isdigit() else load_code(text)

        picture = studio.style_table(
            list(map(code, rows)), list(map(code, columns)), layers=layers, psi=level
        )
    picture.save(output, mark=mark)
    answer(
        {"output": output, "rows": len(rows), "columns": len(columns), "layers": layers},
        f"{output}: {len(rows)} x {len(columns)} mixes in {layers} layers",
        as_json=as_json,
    )
