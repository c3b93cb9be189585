"""`mien paste`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Json, Mark, answer


def command(
    photo: Annotated[Path, typer.Argument(help="The photograph that was aligned.")],
    pairs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FACE EDITED...",
            help="FACE.face.json, or the crop that it lies beside; then the edited crop. More "
            "pairs may follow, for more faces.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG, JPEG or WebP.")],
    feather: Annotated[
        float, typer.Option(help="Part of the square's side over which the edit fades in.")
    ] = 0.1,
    match_colour: Annotated[
        float,
        typer.Option(help="How far its light follows the photograph's around it, 0 to 1."),
    ] = 1.0,
    retouched: Annotated[
        bool,
        typer.Option("--retouched", help="PHOTO is another version of the one that was aligned."),
    ] = False,
    mark: Mark = True,
    as_json: Json = False,
) -> None:
    """Put edited faces back into the photograph that they were cut from, at its resolution.

    \b
    Example: mien paste anna.jpg anna.face.json edited.png -o pasted.png

    Example: mien paste group.jpg guest-0.png edited-0.png guest-1.png edited-1.png -o pasted.png
    """
    from mien.errors import InputError
    from mien.faces.paste import paste
    from mien.faces.record import load_face, record_path
    from mien.images import load, save
    from mien.provenance import carried, digest

    if len(pairs) % 2:
        raise InputError(
            f"{pairs[-1]} stands alone: faces and edited crops come in pairs",
            hint="Name FACE.face.json EDITED.png, for each face",
        )
    records = [p if p.suffix == ".json" else record_path(p) for p in pairs[::2]]
    pixels = load(photo)
    edits, sources = carried([photo, *pairs[1::2]])
    named = dict.fromkeys([*sources, digest(pixels)])
    faces = [load_face(record, pixels, retouched=retouched) for record in records]
    for face, edited in zip(faces, pairs[1::2], strict=True):
        pixels = paste(pixels, face, load(edited), feather=feather, match_colour=match_colour)
    done = dict.fromkeys([*edits, "paste"])
    save(pixels, output, edits=[*done], sources=[*named], mark=mark)
    answer(
        {
            "output": output,
            "size": [pixels.shape[1], pixels.shape[0]],
            "faces": [
                {"record": record, "edited": edited, "quad": face.quad.tolist()}
                for record, edited, face in zip(records, pairs[1::2], faces, strict=True)
            ],
        },
        f"{output}: {pixels.shape[1]} x {pixels.shape[0]} px, "
        f"{len(faces)} {'face' if len(faces) == 1 else 'faces'}",
        as_json=as_json,
    )
