"""`mien lookalikes`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import (
    Aligned,
    Backend,
    Detector,
    Json,
    Mark,
    Which,
    answer,
    crop_of,
    engines_used,
)

if TYPE_CHECKING:
    from mien.edits.lookalike import Lookalikes


def command(
    faces: Annotated[list[Path], typer.Argument(help="Photographs; for a set, one a person.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="A picture: a sheet; .gif: a walk; a folder: a labelled set."
        ),
    ],
    count: Annotated[int, typer.Option("-n", help="How many of each face.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the controls.")] = 0,
    between: Annotated[
        str | None, typer.Option("--between", help="Keep cosines in this band: 0.7:0.95.")
    ] = None,
    cosines: Annotated[
        bool | None,
        typer.Option(
            "--cosines/--no-cosines", help="Tell how alike they are; unasked, in sets alone."
        ),
    ] = None,
    walk: Annotated[
        int | None, typer.Option("--walk", help="Along this control, from -1 to 1, instead.")
    ] = None,
    columns: Annotated[int, typer.Option(help="Of a sheet.")] = 8,
    aligned: Aligned = False,
    detector: Detector = None,
    face: Which = "only",
    mark: Mark = True,
    bundles: Annotated[
        list[str] | None,
        typer.Option("--bundle", help="Of family lookalike; another of arcface, for cosines."),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw faces that share a face's identity, and differ in how they are drawn.

    Example: mien lookalikes anna.jpg -n 24 --seed 7 -o sheet.png

    Example: mien lookalikes anna.jpg --walk 1 -o walk.gif

    Example: mien lookalikes anna.jpg mark.jpg -n 50 --between 0.7:0.95 -o set/

    A set has a folder for each photograph, named as it is, and labels.csv: file, person, seed,
    number, cosine, controls. Typed again, a command that was broken off goes on.
    """
    from mien.animation import SUFFIXES as ANIMATED
    from mien.cli.progress import count_bar
    from mien.edits.lookalike import FAMILY
    from mien.errors import InputError
    from mien.images import SUFFIXES
    from mien.studio import Studio

    suffix, band = output.suffix.lower(), None if between is None else _band(between)
    is_walk, is_set = walk is not None, suffix not in {*SUFFIXES, *ANIMATED}
    if is_set and (is_walk or output.is_file()):
        raise InputError(f"{output.name} is not named as a picture", hint="Name it FILE.png")
    if is_walk and band is not None:
        raise InputError("--walk has no use for --between", hint="Leave one of them out")
    if suffix == ".gif" and not is_walk:
        raise InputError(f"{output.name} is an animation, expected of a walk", hint="Add --walk 0")
    if not is_set and len(faces) > 1:
        raise InputError(f"{len(faces)} faces for one sheet", hint="Name one, or a folder as -o")
    with Studio(*(bundles or []), backend=backend, detector=detector) as studio:
        crops = [crop_of(studio, photo, FAMILY, face, aligned=aligned) for photo in faces]
        record: dict[str, Any] = {"output": output, "faces": len(faces), "n": count, "seed": seed}
        with count_bar("drawing", quiet=as_json) as show:
            if is_set:
                names = [path.stem for path in faces]
                if len(set(names)) < len(names):
                    raise InputError("two photographs have one name", hint="Rename one")
                record["labels"] = studio.lookalike_set(
                    dict(zip(names, crops, strict=True)), count, output, seed=seed, between=band,
                    cosines=cosines is not False, mark=mark, callback=show,
                )  # fmt: skip
            else:
                found: Lookalikes = (
                    studio.lookalikes(
                        crops[0], count, seed=seed, between=band, cosines=bool(cosines),
                        callback=show,
                    )
                    if walk is None
                    else studio.lookalike_walk(
                        crops[0], walk, steps=count, cosines=bool(cosines)
                    )
                )  # fmt: skip
                if found.cosines is not None:
                    record["cosines"] = [round(float(x), 4) for x in found.cosines]
                record["controls"] = found.controls.tolist()
                drawn = found.animation() if suffix == ".gif" else found.sheet(columns)
                drawn.save(output, mark=mark)
        record["engines"] = engines_used(studio.report())
    answer(record, f"{output}: {count} look-alikes of each of {len(faces)}", as_json=as_json)


def _band(text: str) -> tuple[float, float]:
    from mien.errors import InputError

    low, colon, high = text.partition(":")
    try:
        if colon:
            return float(low), float(high)
    except ValueError:
        pass
    raise InputError(f"--between {text!r} is not understood", hint="Type two cosines: 0.7:0.95")
