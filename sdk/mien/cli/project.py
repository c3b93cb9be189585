"""`mien project`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.options import (
    Backend,
    Bundle,
    Detector,
    Json,
    LandmarksFile,
    Mark,
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
    preset: Annotated[
        str | None, typer.Option("--preset", help="faithful, nvlabs or fast; the next change it.")
    ] = None,
    faithful: Annotated[
        bool, typer.Option("--faithful", help="The published baseline: --preset faithful.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Adam steps.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    decay: Annotated[float | None, typer.Option(help="Its factor at each later step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of what nvlabs draws at random.")] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="auto, mean, encoder, or a code: FILE.npy.")
    ] = None,
    until: Annotated[float | None, typer.Option(help="End at a loss not above this.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    every: Annotated[int, typer.Option(help="Steps between two looks, saves and frames.")] = 10,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep the run here (.npz) while it goes on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --save.")] = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A film of the search: .gif, .webp or .mp4.")
    ] = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Find the W+ code whose picture is nearest to a face.

    Example: mien project anna.jpg -o anna.npy --picture anna-found.png

    Example: mien project anna.png --aligned -o anna.npy --preset fast --trace anna.gif

    Ctrl-C keeps what was reached in --save; --resume goes on from there to the same bits.
    """
    from mien.cli.progress import step_bar
    from mien.edits.latents import load_code
    from mien.edits.presets import settings_of
    from mien.errors import InputError
    from mien.images import load
    from mien.studio import Studio

    if output.suffix != ".npy":
        raise InputError(f"{output.name} is not named as a code", hint="Name it FILE.npy")
    if resume and save is None:
        raise InputError("--resume needs the file to go on from", hint="Add --save RUN.npz")
    if faithful and preset not in (None, "faithful"):
        raise InputError(f"--faithful and --preset {preset} were both given", hint="Name one")
    code = start if start is not None and start.endswith(".npy") else None
    asked: dict[str, Any] = {"steps": steps, "rate": rate, "decay": decay, "seed": seed}
    asked["start"] = None if code else start
    changes = {name: value for name, value in asked.items() if value is not None}
    settings = settings_of("faithful" if faithful else preset, **changes)
    begin = None if code is None else load_code(code)
    with Studio(bundle, backend=backend, detector=detector) as studio:
        crop = (
            load(photo)
            if aligned
            else studio.align(photo, landmarks=landmarks, which=which_face(face)).image
        )
        with step_bar("projecting", quiet=as_json) as show:
            found = studio.project(
                crop,
                settings,
                start=begin,
                every=every,
                callback=show,
                until=until,
                seconds=seconds,
                save=save,
                resume=resume,
                trace=trace,
            )
        found.save(output)
        if picture is not None:
            (found.picture or studio.render(found)).save(picture, mark=mark)
        engines = engines_used(studio.report())
    answer(
        {
            "output": output,
            "steps": found.steps,
            "ended": found.ended,
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
