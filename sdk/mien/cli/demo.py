"""`mien demo`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Detector, Json, Which, answer, which_face


def command(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Two photographs; without them, mien's own.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path(
        "mien-demo"
    ),
    detector: Detector = None,
    landmarks: Annotated[
        list[Path] | None,
        typer.Option("--landmarks", help="Points of each photograph, instead of a detector."),
    ] = None,
    face: Which = "only",
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Align, project, mix and edit two portraits with all networks; write a contact sheet.

    Example: mien demo

    Example: mien demo anna.jpg mark.jpg -o anna-and-mark

    The folder has contact.png, crops, codes, mixes, and report.html: who ran what, for how long.
    """
    from mien.cli.progress import step_bar
    from mien.demo.run import Portrait, own_portraits, run_demo
    from mien.errors import InputError

    if photos and len(photos) != 2:
        raise InputError(f"{len(photos)} photographs were given", hint="Name two, or none")
    if landmarks and len(landmarks) != 2:
        raise InputError(f"{len(landmarks)} landmark files were given", hint="Name two, or none")
    points: list[Path | None] = list(landmarks) if landmarks else [None, None]
    portraits = (
        [Portrait(p, lm) for p, lm in zip(photos, points, strict=True)]
        if photos
        else own_portraits()
    )
    with step_bar("projecting", quiet=as_json) as show:
        result = run_demo(
            portraits,
            output,
            bundle=bundle,
            backend=backend,
            detector=detector,
            which=which_face(face),
            callback=show,
        )
    answer(
        result.record(),
        f"{result.contact}\n{result.report}\n{result.seconds:.1f} s in all",
        as_json=as_json,
    )
