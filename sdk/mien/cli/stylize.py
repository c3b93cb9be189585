"""`mien stylize`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Json, Mark, answer, numbers


def command(
    content: Annotated[Path, typer.Argument(help="The picture.")],
    styles: Annotated[
        list[str],
        typer.Argument(help="Pictures of styles, or mosaic, print, strokes, waves."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture in the style.")],
    strength: Annotated[
        float, typer.Option(help="0 redraws the picture, 1 takes the whole style.")
    ] = 1.0,
    weights: Annotated[
        str, typer.Option(help="One for each of several styles: 1,2. Unasked, all alike.")
    ] = "",
    match_colour: Annotated[
        float, typer.Option(help="How far colours become the style's; 0 is as the network draws.")
    ] = 1.0,
    keep_colour: Annotated[
        bool, typer.Option("--keep-colour", help="Hues stay the picture's own.")
    ] = False,
    mark: Mark = True,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="A bundle of family adain: its folder or zip."),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw a picture in the style of others, in one pass.

    Example: mien stylize anna.jpg mosaic -o tiles.png

    Example: mien stylize anna.jpg waves mark.jpg --weights 1,2 --keep-colour -o mixed.png
    """
    from mien.studio import Studio

    shares = numbers(weights, "--weights") if weights else None
    with Studio(*([bundle] if bundle else []), backend=backend) as studio:
        picture = studio.stylize(
            content, styles, strength=strength, weights=shares,
            match_colour=match_colour, keep_colour=keep_colour,
        )  # fmt: skip
    picture.save(output, mark=mark)
    answer(
        {"output": output, "styles": styles, "strength": strength},
        f"{output}: {content.name} in the style of {', '.join(Path(s).name for s in styles)}",
        as_json=as_json,
    )
