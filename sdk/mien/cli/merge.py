"""`mien merge`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.options import (
    Aligned,
    Backend,
    Detector,
    Json,
    Mark,
    Which,
    answer,
    check_picture_name,
    crop_of,
    engines_used,
)


def command(
    one: Annotated[Path, typer.Argument(help="A photograph: the face whose content is kept.")],
    others: Annotated[
        list[Path], typer.Argument(help="The face that positions it; of several, a sheet is made.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture, or the sheet.")],
    strength: Annotated[float, typer.Option(help="0 draws the content again, 1 merges.")] = 1.0,
    blocks: Annotated[
        str, typer.Option(help="Sizes of detail that merge: middle, coarse, fine, all, 8-16px.")
    ] = "all",
    plain: Annotated[
        bool, typer.Option("--plain", help="Without the trained merge: mean and deviation alone.")
    ] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The first is the pattern, the others contents.")
    ] = False,
    aligned: Aligned = False,
    detector: Detector = None,
    face: Which = "only",
    mark: Mark = True,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="A bundle of family vaegan.")
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Merge two faces: one's content at the other's place in latent space.

    Example: mien merge anna.jpg mark.jpg -o merged.png --blocks middle

    Example: mien merge anna.jpg mark.jpg eva.jpg tom.jpg -o sheet.png --reverse
    """
    from mien.cli.progress import count_bar
    from mien.edits.merge import FAMILY
    from mien.studio import Studio

    check_picture_name(output)
    chosen = [] if bundle is None else [bundle]
    with Studio(*chosen, backend=backend, detector=detector) as studio:
        first, *rest = (
            crop_of(studio, photo, FAMILY, face, aligned=aligned) for photo in (one, *others)
        )
        contents, patterns = (rest, [first]) if reverse else ([first], rest)
        how: dict[str, Any] = {"strength": strength, "blocks": blocks, "learned": not plain}
        if len(rest) == 1:
            picture = studio.merge(contents[0], patterns[0], **how)
        else:
            with count_bar("merging", quiet=as_json) as show:
                picture = studio.merge_sheet(contents, patterns, **how, callback=show)
        engines = engines_used(studio.report())
    picture.save(output, mark=mark)
    answer(
        {"output": output, "contents": len(contents), "patterns": len(patterns), **how,
         "engines": engines},
        f"{output}: {len(contents)} x {len(patterns)} merged in {blocks} blocks",
        as_json=as_json,
    )  # fmt: skip
