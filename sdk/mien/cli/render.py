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
    seed: Annotated[
        int | None, typer.Option(help="Of a face that does not exist. Unasked: 0.")
    ] = None,
    psi: Annotated[
        float | None,
        typer.Option(help="Truncation of that face: 0 is the mean face. Unasked: 0.7."),
    ] = None,
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
    from mien.errors import InputError
    from mien.studio import Studio

    if code is not None and (seed, psi, label) != (None, None, None):
        raise InputError(
            f"{code.name} is a face already, and --seed, --psi and --label choose another",
            hint="Give a code or those options",
        )
    drawn = None if code is None else load_code(code)
    with Studio(bundle, backend=backend) as studio:
        if drawn is None:
            drawn = studio.sample(seed or 0, psi=0.7 if psi is None else psi, label=label)
        picture = studio.render(drawn)
    picture.save(output, mark=mark)
    answer(
        {"output": output, "size": picture.array.shape[0]},
        f"{output}: {picture.array.shape[0]} px",
        as_json=as_json,
    )
