"""`mien render`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Json, Mark, answer


def command(
    code: Annotated[
        Path | None, typer.Argument(help="A code (.npy); without one, --seed draws it.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")] = Path("face.png"),
    seed: Annotated[int, typer.Option(help="Of a face that does not exist.")] = 0,
    psi: Annotated[float, typer.Option(help="Truncation of that face: 0 is the mean face.")] = 0.7,
    label: Annotated[
        int | None, typer.Option(help="Class of that face, where the generator knows classes.")
    ] = None,
    bundle: Bundle = "demo",
    backend: Backend = None,
    mark: Mark = True,
    as_json: Json = False,
) -> None:
    """Draw the face of a code, or of a seed.

    Example: mien render --seed 7 -o seven.png
    """
    from mien.edits.latents import load_code
    from mien.studio import Studio

    given = None if code is None else load_code(code)
    with Studio(bundle, backend=backend) as studio:
        picture = studio.render(
            studio.sample(seed, psi=psi, label=label) if given is None else given
        )
    picture.save(output, mark=mark)
    answer(
        {"output": output, "size": picture.array.shape[0]},
        f"{output}: {picture.array.shape[0]} px",
        as_json=as_json,
    )
