"""`mien swap`"""

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
    Mark,
    Which,
    answer,
    check_picture_name,
    engines_used,
    which_face,
)


def command(
    identity: Annotated[Path, typer.Argument(help="A photograph of the donor.")],
    attributes: Annotated[Path, typer.Argument(help="A photograph of the face to change.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")],
    code: Annotated[Path | None, typer.Option("--code", help="Also keep the code (.npy).")] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Both are crops of the generator's size already.")
    ] = False,
    detector: Detector = None,
    face: Which = "only",
    layers: Annotated[
        str, typer.Option(help="To begin with from the donor: coarse, middle, 4-7, or none.")
    ] = "middle",
    start: Annotated[
        Path | None, typer.Option("--start", help="A code (.npy) to begin with instead.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--identity-weight", help="Weight of the donor's identity.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Adam steps.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of the first step.")] = None,
    encoded: Annotated[
        bool, typer.Option("--encoded", help="Begin with the encoder's codes: quicker, less like.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep the run here (.npz) while it goes on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --save.")] = False,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Give one face the identity of another; pose, colours and background stay.

    Example: mien swap anna.jpg mark.jpg -o swapped.png

    The picture says in its metadata that it was swapped. A bundle of your own needs a recognition
    network: mien export stylegan2 CHECKPOINT -o BUNDLE --arcface ARCFACE.pth
    """
    from mien.cli.progress import step_bar
    from mien.edits.latents import load_code
    from mien.edits.swap import SwapSettings
    from mien.errors import InputError
    from mien.images import load
    from mien.studio import Studio

    check_picture_name(output)
    if resume and save is None:
        raise InputError("--resume needs the file to go on from", hint="Add --save RUN.npz")
    asked = {"steps": steps, "rate": rate, "identity": strength}
    settings = replace(
        SwapSettings(
            layers=() if layers == "none" else layers,
            codes="encoded" if encoded else "projected",
        ),
        **{name: value for name, value in asked.items() if value is not None},  # type: ignore[arg-type]
    )
    first = None if start is None else load_code(start)
    with Studio(bundle, backend=backend, detector=detector) as studio:
        crops = [
            load(photo) if aligned else studio.align(photo, which=which_face(face)).image
            for photo in (identity, attributes)
        ]
        with step_bar("swapping", quiet=as_json) as show:
            found = studio.swap(
                identity=crops[0],
                attributes=crops[1],
                settings=settings,
                start=first,
                callback=show,
                save=save,
                resume=resume,
            )
        engines = engines_used(studio.report())
    found.save(output, mark=mark)
    if code is not None:
        found.save_code(code)
    answer(
        {
            "output": output,
            "steps": found.steps,
            "loss": found.loss,
            "terms": found.terms,
            "cosine": found.cosine,
            "seconds": found.seconds,
            "backend": found.backend,
            "engines": engines,
        },
        f"{output}: cosine {found.cosine:.2f} to the donor, {found.distance:.3f} from the face "
        f"after {found.steps} steps, {found.seconds:.1f} s with {found.backend}",
        as_json=as_json,
    )
