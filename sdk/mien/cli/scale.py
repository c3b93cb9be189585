"""`mien scale`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.options import Aligned, Detector, Json, Mark, which_face


def command(
    verb: Annotated[str, typer.Argument(help="One of the list below.")],
    source: Annotated[
        Path, typer.Option("--in", help="A folder, a manifest (.csv, .jsonl), a picture or a film.")
    ],
    output: Annotated[Path, typer.Option("--out", help="A folder for the results.")],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: an argument of the verb, the same for all."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Each holds the networks once.")] = 2,
    local: Annotated[
        bool, typer.Option("--local", help="Processes of this machine; else Ray.")
    ] = False,
    cpus: Annotated[float, typer.Option(help="Cores of each worker.")] = 1.0,
    gpus: Annotated[
        float,
        typer.Option(help="GPUs of each worker on Ray, for --backend ort-cuda; 0.25: four on one."),
    ] = 0.0,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray: auto, or HOST:PORT. Else one starts here.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Of pictures: .png, .jpg, .webp.")] = None,
    film_suffix: Annotated[str, typer.Option(help="Of films.")] = ".mp4",
    side: Annotated[
        int | None, typer.Option("--side", help="Of films: scale to so many px before the edit.")
    ] = None,
    sound: Annotated[bool, typer.Option("--sound/--no-sound", help="Of films.")] = True,
    on_failure: Annotated[
        str, typer.Option(help="Of a frame that fails: stop, or pass it as it is.")
    ] = "stop",
    piece: Annotated[
        int, typer.Option(help="Frames of a film that one worker draws at a time.")
    ] = 480,
    aligned: Aligned = False,
    detector: Detector = None,
    face: Annotated[str, typer.Option("--face", help="Of several: only, largest, a number.")]
    = "only",
    mark: Mark = True,
    bundle: Annotated[
        list[str] | None, typer.Option("--bundle", help="Bundles of the verb's families.")
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="ort, ort-cuda, ov or ov-bf16, the same everywhere.")
    ] = "ort",
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run a verb over many items. A second run does only what is missing.

    Example: mien scale stylize --in photos --out drawn --set style=mosaic --local --workers 4

    Example: mien scale merge --in pairs.csv --out merged --set blocks=middle --workers 8

    Example: mien scale stylize --in films --out drawn --set style=waves --address auto

    Verbs: align, edit, express, gatys, invert, lookalikes, merge, mix, move, project, render,
    stylize, swap, translate; of films: express, stylize, translate.

    Items that fail are listed; the status is then 1. OUT has results, index.jsonl and report.json.
    """
    from mien.cli.progress import count_bar
    from mien.cli.video import interrupts
    from mien.scale import run

    rules: Any = {"on_failure": on_failure}
    with count_bar(verb, quiet=as_json) as show, interrupts() as stop:
        report = run(
            verb, source, output,
            options=dict(_option(text) for text in options or ()),
            workers=workers, local=local, cpus=cpus, gpus=gpus, address=address,
            bundles=bundle or (), backend=backend, detector=detector, aligned=aligned,
            face=which_face(face), suffix=suffix, film_suffix=film_suffix, side=side, sound=sound,
            piece=piece, mark=mark, callback=lambda done: show(done.done, done.of), stop=stop,
            **rules,
        )  # fmt: skip
    typer.echo(json.dumps(report.record()) if as_json else f"{output}\n{report.table()}")
    return 1 if report.failed else 0


def _option(text: str) -> tuple[str, Any]:
    """NAME=VALUE; a value that is JSON, such as 0.5 or [1, 2], is taken as that."""
    from mien.errors import InputError

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--set {text!r} is no option", hint="Type --set strength=0.5")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
