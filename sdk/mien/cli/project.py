"""`mien project`"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import (
    Backend,
    Bundle,
    Detector,
    Json,
    LandmarksFile,
    Which,
    answer,
    engines_used,
    which_face,
)


def command(
    photo: Annotated[Path, typer.Argument(help="A photograph, or an aligned crop.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The code: FILE.npy.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Also draw the found face here.")
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="PHOTO is a crop of the generator's size already.")
    ] = False,
    detector: Detector = None,
    landmarks: LandmarksFile = None,
    face: Which = "only",
    steps: Annotated[int | None, typer.Option(help="Adam steps.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of the first step.")] = None,
    decay: Annotated[float | None, typer.Option(help="Its factor at each later step.")] = None,
    faithful: Annotated[
        bool, typer.Option("--faithful", help="The published baseline, number for number.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep the run here (.npz) while it goes on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --save.")] = False,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Find the W+ code whose picture is nearest to a face.

    Example: mien project anna.jpg -o anna.npy --picture anna-found.png

    Ctrl-C keeps what was reached in --save; --resume goes on from there to the same bits.
    """
    from mien.cli.progress import step_bar
    from mien.edits.project import FAITHFUL, ProjectionSettings
    from mien.errors import InputError
    from mien.images import load
    from mien.studio import Studio

    if output.suffix != ".npy":
        raise InputError(f"{output.name} is not named as a code", hint="Name it FILE.npy")
    if resume and save is None:
        raise InputError("--resume needs the file to go on from", hint="Add --save RUN.npz")
    asked = {"steps": steps, "rate": rate, "decay": decay}
    changes = {name: value for name, value in asked.items() if value is not None}
    settings = replace(FAITHFUL if faithful else ProjectionSettings(), **changes)  # type: ignore[arg-type]
    with Studio(bundle, backend=backend, detector=detector) as studio:
        crop = (
            load(photo)
            if aligned
            else studio.align(photo, landmarks=landmarks, which=which_face(face)).image
        )
        with step_bar("projecting", quiet=as_json) as show:
            found = studio.project(crop, settings, callback=show, save=save, resume=resume)
        found.save(output)
        if picture is not None:
            studio.render(found).save(picture)
        engines = engines_used(studio.report())
    answer(
        {
            "output": output,
            "steps": found.steps,
            "loss": found.loss,
            "terms": found.terms,
            "converged": found.converged,
            "seconds": found.seconds,
            "backend": found.backend,
            "engines": engines,
        },
        f"{output}: loss {found.loss:.4f} after {found.steps} steps, "
        f"{found.seconds:.1f} s with {found.backend}",
        as_json=as_json,
    )
