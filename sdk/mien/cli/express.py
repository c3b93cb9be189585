"""`mien express`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Json, Mark, answer


def command(
    code: Annotated[Path, typer.Argument(help="Code of the face (.npy).")],
    expression: Annotated[
        str, typer.Argument(help="happy, sad or fear (of the demo), or a file (.safetensors).")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture; with --animate, .gif or .webp.")
    ],
    strength: Annotated[
        float, typer.Option(help="How much of it; below 0 does the opposite.")
    ] = 1.0,
    layers: Annotated[
        str | None, typer.Option(help="Instead of the expression's own: 1-8, 16px+, all.")
    ] = None,
    animate: Annotated[
        str | None,
        typer.Option("--animate", help="From one strength to another and back, as FIRST:LAST."),
    ] = None,
    frames: Annotated[int, typer.Option(help="Of an animation, one way.")] = 12,
    keep: Annotated[Path | None, typer.Option("--code", help="Also keep the new code.")] = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Give a face an expression.

    Example: mien express anna.npy happy -o happy.png

    Example: mien express anna.npy happy -o happy.gif --animate 0:1.5
    """
    from mien.animation import check_suffix
    from mien.edits.express import express, strengths_between
    from mien.edits.expression import load_expression
    from mien.edits.latents import load_code, save_code
    from mien.studio import Studio

    ends = None if animate is None else _ends(animate)
    if ends is not None:
        check_suffix(output)
    ws, chosen = load_code(code), load_expression(expression)
    with Studio(bundle, backend=backend) as studio:
        if ends is None:
            studio.express(ws, chosen, strength, layers=layers).save(output, mark=mark)
        else:
            steps = strengths_between(*ends, frames)
            studio.animate(ws, chosen, steps, layers=layers).save(output, mark=mark)
    if keep is not None:
        save_code(express(ws, chosen, strength, layers=layers), keep)
    answer(
        {"output": output, "strength": strength if ends is None else ends, **chosen.record()},
        f"{output}: {chosen.name}, {animate or format(strength, 'g')}",
        as_json=as_json,
    )


def _ends(text: str) -> tuple[float, float]:
    from mien.errors import InputError

    low, colon, high = text.partition(":")
    try:
        if colon:
            return float(low), float(high)
    except ValueError:
        pass
    raise InputError(f"--animate {text!r} is not understood", hint="Type two strengths: 0:1.5")
