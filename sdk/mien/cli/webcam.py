"""`mien webcam`"""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli.options import Backend, Json, answer
from mien.cli.video import (
    DomainOf,
    EditBundle,
    Expressed,
    KeepColour,
    Smooth,
    Strength,
    Styles,
    Translate,
    Weights,
    asked_edit,
    interrupts,
)


def command(
    source: Annotated[
        str, typer.Argument(help="A camera's number, a video file, or synthetic.")
    ] = "0",
    style: Styles = None,
    translate: Translate = None,
    domain: DomainOf = None,
    edit: Expressed = None,
    strength: Strength = 1.0,
    weights: Weights = "",
    keep_colour: KeepColour = False,
    view: Annotated[
        str, typer.Option("--view", help="window, http (a page for this machine), virtual or none.")
    ] = "http",
    port: Annotated[int, typer.Option(help="Of http; 0 takes a free one.")] = 0,
    side: Annotated[int, typer.Option(help="Scale to so many px, at the shorter side.")] = 256,
    smooth: Smooth = 0.0,
    still: Annotated[
        float, typer.Option(help="Frames that differ by less (levels of 255) are not drawn anew.")
    ] = 2.0,
    seconds: Annotated[float | None, typer.Option(help="End after so many.")] = None,
    bundle: EditBundle = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Edit a camera live, or a file at its own speed. What a slow edit cannot do is dropped.

    Example: mien webcam 0 --style mosaic --smooth 0.5

    Example: mien webcam synthetic --style waves --view none --seconds 20

    Ctrl-C, the end of the file, a closed window and a page left by its last viewer end it.
    """
    from rich.console import Console

    from mien.realtime import open_source, open_viewer, run
    from mien.studio import Studio

    console = Console(stderr=True)
    with Studio(*([bundle] if bundle else []), backend=backend) as studio:
        asked = asked_edit(studio, style, translate, domain, edit, strength, weights, keep_colour)
        opened = open_source(source, side=side)
        viewer = open_viewer(view, opened.size, port=port)
        console.print(f"mien webcam: pictures go to {viewer.where}", highlight=False)
        with console.status("starting") as status, interrupts() as stop:
            report = run(
                opened,
                asked,
                viewer,
                smoothing=smooth,
                still=still,
                seconds=seconds,
                stop=stop,
                callback=lambda so_far: status.update(so_far.line()),
            )
    answer(report.record(), f"{report.line()}; ended by: {report.ended}", as_json=as_json)
