"""`mien edit`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Json, Mark, answer, check_picture_name, numbers


def command(
    face: Annotated[Path, typer.Argument(help="Code of the face (.npy).")],
    parts: Annotated[
        list[str], typer.Option("--part", help="eyes, nose, mouth, ... Repeat it, each --from.")
    ],
    references: Annotated[
        list[Path], typer.Option("--from", help="Code of the face to take the part from (.npy).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")],
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="Its file; unasked, that of the demo.")
    ] = None,
    rho: Annotated[
        float, typer.Option(help="Least contribution of a channel to the part, 0 to 1.")
    ] = 0.1,
    epsilon: Annotated[
        str | None,
        typer.Option(
            help="What the channels may add elsewhere: a number, or one for each style layer; "
            "unasked 50, for the nose 30, in the first four layers 5."
        ),
    ] = None,
    shift: Annotated[
        bool, typer.Option("--shift", help="Of a StyleGAN1, also what is added to channels.")
    ] = False,
    where: Annotated[
        Path | None, typer.Option("--map", help="Also draw where the face changed.")
    ] = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Give a face one part of another, or several parts, each of its own.

    Example: mien edit anna.npy --part eyes --from mark.npy -o edited.png --map where.png

    Example: mien edit anna.npy --part eyes --from a.npy --part mouth --from b.npy -o edited.png
    """
    from mien.edits.latents import load_code
    from mien.edits.locality import locality_map
    from mien.errors import InputError
    from mien.studio import Studio

    for picture in (output, *([where] if where else [])):
        check_picture_name(picture)
    if len(parts) != len(references):
        raise InputError(
            f"{len(parts)} parts and {len(references)} faces to take them from",
            hint="Type --part and --from in pairs",
        )
    if len(set(parts)) < len(parts):
        raise InputError("a part was named twice", hint="Take each from one face")
    levels = None if epsilon is None else numbers(epsilon, "--epsilon")
    limit = levels[0] if levels and len(levels) == 1 else levels
    code, others = load_code(face), [load_code(path) for path in references]
    with Studio(bundle, backend=backend) as studio:
        edited = studio.edit_parts(
            code, dict(zip(parts, others, strict=True)), rho=rho, epsilon=limit, shift=shift,
            catalogue=catalogue,
        )  # fmt: skip
        if where is not None:
            locality_map(studio.render(code), edited.picture).save(where, mark=mark)
    edited.picture.save(output, mark=mark)
    taken = {part: str(path) for part, path in zip(parts, references, strict=True)}
    said = ", ".join(f"{part} of {Path(path).name}" for part, path in taken.items())
    answer(
        {"output": output, "parts": taken, "rho": rho, "epsilon": limit, "map": where},
        f"{output}: {said}",
        as_json=as_json,
    )
