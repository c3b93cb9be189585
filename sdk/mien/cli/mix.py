"""`mien mix`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Json, Mark, answer, numbers

Layers = Annotated[
    str,
    typer.Option(help="coarse, middle, fine, all; numbers: 9-17, 0,4-7; or px: 64px+, 4-8px."),
]
Psi = Annotated[
    str,
    typer.Option(
        help="Weight of the kept face in these layers; below 0 extrapolates. One for each layer of "
        "the code may be given: 0,0,0.5,..."
    ),
]


def weight(psi: str) -> float | list[float]:
    """Return what `--psi` means: one number for all layers, or one for each."""
    levels = numbers(psi, "--psi")
    return levels[0] if len(levels) == 1 else levels


def command(
    content: Annotated[Path, typer.Argument(help="Code of the face that is kept (.npy).")],
    style: Annotated[Path, typer.Argument(help="Code of the face to take layers from (.npy).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")],
    layers: Layers = "fine",
    psi: Psi = "0",
    code: Annotated[Path | None, typer.Option("--code", help="Also keep the mixed code.")] = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw one face with layers of another.

    Example: mien mix anna.npy mark.npy -o mixed.png --layers 4-8px
    """
    from mien.edits.latents import load_code, mix, save_code
    from mien.studio import Studio

    a, b, level = load_code(content), load_code(style), weight(psi)
    with Studio(bundle, backend=backend) as studio:
        picture = studio.mix(a, b, layers=layers, psi=level)
    picture.save(output, mark=mark)
    if code is not None:
        save_code(mix(a, b, layers=layers, psi=level), code)
    answer(
        {"output": output, "layers": layers, "psi": level},
        f"{output}: {layers} layers of {style.name}",
        as_json=as_json,
    )
