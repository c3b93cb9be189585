"""`mien mix`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Json, answer


def command(
    content: Annotated[Path, typer.Argument(help="Code of the face that is kept (.npy).")],
    style: Annotated[Path, typer.Argument(help="Code of the face to take layers from (.npy).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")],
    layers: Annotated[
        str, typer.Option(help="coarse, middle, fine, all, or numbers: 9-17, 0,4-7.")
    ] = "fine",
    psi: Annotated[
        float, typer.Option(help="Weight of CONTENT in these layers; below 0 extrapolates.")
    ] = 0.0,
    code: Annotated[Path | None, typer.Option("--code", help="Also keep the mixed code.")] = None,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw one face with layers of another.

    Example: mien mix anna.npy mark.npy -o mixed.png --layers coarse
    """
    from mien.edits.latents import load_code, mix, save_code
    from mien.studio import Studio

    a, b = load_code(content), load_code(style)
    with Studio(bundle, backend=backend) as studio:
        picture = studio.mix(a, b, layers=layers, psi=psi)
    picture.save(output)
    if code is not None:
        save_code(mix(a, b, layers=layers, psi=psi), code)
    answer(
        {"output": output, "layers": layers, "psi": psi},
        f"{output}: {layers} layers of {style.name}",
        as_json=as_json,
    )
