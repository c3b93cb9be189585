"""`mien move`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.mix import Layers
from mien.cli.options import Backend, Bundle, Json, Mark, answer


def command(
    code: Annotated[Path, typer.Argument(help="Code of the face (.npy).")],
    direction: Annotated[
        Path, typer.Argument(help="What to add: .npy, .pt or .safetensors, [D] or [L, D].")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")],
    strength: Annotated[
        float, typer.Option(help="How much of it; below 0 goes the other way.")
    ] = 1.0,
    layers: Layers = "all",
    keep: Annotated[Path | None, typer.Option("--code", help="Also keep the new code.")] = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw a face moved along an edit direction, such as age or pose.

    Example: mien move anna.npy age.pt -o older.png --strength 2 --layers 4-8px
    """
    from mien.edits.directions import load_direction, move
    from mien.edits.latents import load_code, save_code
    from mien.studio import Studio

    ws, along = load_code(code), load_direction(direction)
    with Studio(bundle, backend=backend) as studio:
        picture = studio.move(ws, along, strength, layers=layers)
    picture.save(output, mark=mark)
    if keep is not None:
        save_code(move(ws, along, strength, layers=layers), keep)
    answer(
        {"output": output, "strength": strength, "layers": layers},
        f"{output}: {strength:g} of {direction.name}",
        as_json=as_json,
    )
