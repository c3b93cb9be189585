"""`mien gatys`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.options import Backend, Json, Mark, answer, engines_used, numbers
from mien.errors import InputError


def command(
    content: Annotated[Path, typer.Argument(help="The picture.")],
    styles: Annotated[
        list[str],
        typer.Argument(help="Pictures of styles, or mosaic, print, strokes, waves."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The painting.")],
    weights: Annotated[
        str, typer.Option(help="One for each of several styles: 1,2. Unasked, all alike.")
    ] = "",
    preset: Annotated[
        str | None, typer.Option("--preset", help="fast or published; the next change it.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longer side in px, at most 1024.")] = None,
    steps: Annotated[
        str,
        typer.Option(help="Of each size, from coarse to fine: 150,80; each is twice the last."),
    ] = "",
    optimiser: Annotated[str | None, typer.Option(help="adam or lbfgs.")] = None,
    rate: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    style_layers: Annotated[
        str, typer.Option(help="published, all, or weights: conv1_1=1,conv3_1=0.5.")
    ] = "",
    content_layers: Annotated[str, typer.Option(help="Likewise: conv2_2=1.")] = "",
    style_weight: Annotated[float | None, typer.Option(help="Of the Gram matrices.")] = None,
    content_weight: Annotated[float | None, typer.Option(help="Of the content's maps.")] = None,
    relative: Annotated[
        bool | None,
        typer.Option("--relative/--absolute", help="Weigh each layer by what it is compared with."),
    ] = None,
    smoothness: Annotated[float | None, typer.Option(help="Of neighbours' differences.")] = None,
    colour: Annotated[
        str | None, typer.Option(help="style; lightness or matched keep the picture's colours.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="content, noise, or a picture to begin with.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    every: Annotated[int, typer.Option(help="Steps between two looks.")] = 10,
    mark: Mark = True,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="A bundle of family vgg: its folder or zip."),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Paint a picture in the style of others, by a search for its pixels (Gatys et al. 2016).

    Example: mien gatys anna.jpg mosaic -o painted.png

    Example: mien gatys anna.jpg waves mark.jpg --weights 1,2 --colour matched --size 512 -o p.png

    OUTPUT has the best so far while the search goes on; Ctrl-C leaves it there.
    """
    from mien.cli.progress import step_bar
    from mien.edits.presets import gatys_settings_of
    from mien.images import check_name
    from mien.studio import Studio

    check_name(output)
    begin = start if start not in (None, "content", "noise") else None
    asked: dict[str, Any] = {
        "size": size,
        "steps": counts(steps, "--steps") if steps else None,
        "optimiser": optimiser,
        "rate": rate,
        "style_layers": layers(style_layers, "--style-layers") if style_layers else None,
        "content_layers": layers(content_layers, "--content-layers") if content_layers else None,
        "style_weight": style_weight,
        "content_weight": content_weight,
        "relative": relative,
        "smoothness": smoothness,
        "colour": colour,
        "start": None if begin else start,
        "seed": seed,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    settings = gatys_settings_of(preset, **changes)
    shares = numbers(weights, "--weights") if weights else None
    with Studio(*([bundle] if bundle else []), backend=backend) as studio:
        with step_bar("painting", quiet=as_json) as show:
            found = studio.gatys(
                content,
                styles,
                settings,
                weights=shares,
                start=begin,
                every=every,
                callback=show,
                seconds=seconds,
                save=output,
                mark=mark,
            )
        engines = engines_used(studio.report())
    width, height = found.picture.size
    answer(
        {
            "output": output,
            "styles": styles,
            "size": [width, height],
            "steps": found.steps,
            "ended": found.ended,
            "loss": found.loss,
            "terms": found.terms,
            "seconds": found.seconds,
            "backend": found.backend,
            "engines": engines,
        },
        f"{output}: {width} x {height} px, loss {found.loss:.4g} after {found.steps} steps, "
        f"{found.seconds:.1f} s with {found.backend}",
        as_json=as_json,
    )


def counts(text: str, option: str) -> tuple[int, ...]:
    """Return the whole numbers of "150,80". Raises InputError, which names the option."""
    found = numbers(text, option)
    if any(number != round(number) for number in found):
        raise InputError(f"{option} {text!r} has a fraction", hint="Type whole numbers")
    return tuple(map(int, found))


def layers(text: str, option: str) -> str | dict[str, float]:
    """Return the weights of "conv1_1=1,conv3_1=0.5", or a word as it is.

    Raises InputError, which names the option.
    """
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in text.split(",")]
    return {name.strip(): numbers(value, f"{option}, {name}:")[0] for name, _, value in pairs}
