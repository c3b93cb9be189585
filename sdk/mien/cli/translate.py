"""`mien translate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import (
    Aligned,
    Backend,
    Detector,
    Json,
    Mark,
    Which,
    answer,
    as_domain,
    check_picture_name,
    engines_used,
    which_face,
)

if TYPE_CHECKING:
    from mien.animation import Animation
    from mien.images import U8, Picture
    from mien.studio import Studio


def command(
    faces: Annotated[
        list[Path], typer.Argument(help="Photographs to translate; of several, a sheet is made.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture or sheet; with --animate, .gif.")
    ],
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", help="A photograph whose style is taken. Repeat it: a sheet."),
    ] = None,
    domain: Annotated[
        str, typer.Option("--domain", help="That of the style: its name or its number.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(help="Of a random style; without it and a reference, the mean.")
    ] = None,
    psi: Annotated[
        float | None, typer.Option(help="Of a random style: 1 keeps it, 0 is the mean.")
    ] = None,
    animate: Annotated[
        bool, typer.Option("--animate", help="One face on its way through all references.")
    ] = False,
    frames: Annotated[int, typer.Option(help="Of an animation, between references.")] = 12,
    aligned: Aligned = False,
    mean: Annotated[
        Path | None, typer.Option("--mean", help="The mean face (.npz) of the checkpoint's FAN.")
    ] = None,
    detector: Detector = None,
    face: Which = "only",
    mark: Mark = True,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="A bundle of family starganv2.")
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Draw faces in the style of another domain (StarGAN v2); pose and expression stay.

    Example: mien translate anna.jpg --reference mark.jpg --domain male -o translated.png

    Example: mien translate anna.jpg --domain male --seed 4 --psi 0.7 -o somebody.png

    Example: mien translate anna.jpg eva.jpg --reference mark.jpg --reference tom.jpg
    --domain male -o sheet.png
    """
    from mien.animation import check_suffix
    from mien.cli.progress import count_bar
    from mien.errors import InputError
    from mien.studio import Studio

    check_suffix(output) if animate else check_picture_name(output)
    several = animate or len(faces) > 1 or len(references or []) > 1
    if several and (seed, psi) != (None, None):
        raise InputError("--seed and --psi are of one face", hint="Name references instead")
    if animate and len(faces) > 1:
        raise InputError(f"--animate with {len(faces)} faces", hint="Name one face")
    chosen = [] if bundle is None else [bundle]
    where = as_domain(domain)
    with Studio(*chosen, backend=backend, detector=detector) as studio:

        def crop(photo: Path) -> U8:
            return _crop(studio, photo, face, mean, aligned=aligned)

        sources, others = list(map(crop, faces)), list(map(crop, references or []))
        drawn: Picture | Animation
        with count_bar("drawing", quiet=as_json) as show:
            if animate:
                styles = [studio.face_style(reference=other, domain=where) for other in others]
                drawn = studio.translate_between(sources[0], styles, frames=frames, callback=show)
            elif several:
                drawn = studio.translate_sheet(sources, others, domain=where, callback=show)
            else:
                reference = others[0] if others else None
                drawn = studio.translate(
                    sources[0], reference=reference, domain=where, seed=seed, psi=psi
                )
        engines = engines_used(studio.report())
    drawn.save(output, mark=mark)
    answer(
        {
            "output": output,
            "faces": len(sources),
            "references": len(others),
            "edits": drawn.edits,
            "engines": engines,
        },
        f"{output}: {', '.join(path.name for path in faces)}, {', '.join(drawn.edits)}",
        as_json=as_json,
    )


def _crop(studio: Studio, photo: Path, which: str, mean: Path | None, *, aligned: bool) -> U8:
    from mien.images import load

    if aligned:
        return load(photo)
    return studio.align_for_translation(photo, which=which_face(which), mean=mean).image
