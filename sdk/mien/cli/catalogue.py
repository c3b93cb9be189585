"""`mien catalogue`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Detector, Json, Mark, answer, check_picture_name


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.safetensors.")],
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="Name clusters yourself: eyes=3,7. Repeat it."),
    ] = None,
    of: Annotated[
        Path | None, typer.Option("--of", help="Name the clusters of this catalogue anew.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="To cluster: a style layer, or px: 32px; unasked, 64px.")
    ] = None,
    clusters: Annotated[int, typer.Option(help="How many.")] = 96,
    samples: Annotated[int, typer.Option(help="Random faces that it is made of.")] = 96,
    seed: Annotated[int, typer.Option(help="Of the faces and of the clustering.")] = 10,
    look: Annotated[
        Path | None, typer.Option("--look", help="Also draw the clusters, with their numbers.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Kept in the file.")] = "",
    note: Annotated[str, typer.Option(help="Kept in the file.")] = "",
    detector: Detector = None,
    mark: Mark = True,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Find which channels of a generator draw the eyes, the nose, ..., for mien edit.

    Clusters are named by landmarks, unless you name them.

    Example: mien catalogue -o faces.safetensors --bundle ffhq --look clusters.png

    Example: mien catalogue -o mine.safetensors --of faces.safetensors --part eyes=3,7 --bundle ffhq
    """
    from dataclasses import replace

    from mien.cli.progress import count_bar
    from mien.edits.catalogue import KIND, load_catalogue
    from mien.edits.tensor_files import check_suffix
    from mien.errors import InputError
    from mien.studio import Studio

    check_suffix(output, KIND)
    if look is not None:
        check_picture_name(look)
    named = None if not parts else dict(map(_part, parts))
    if of is not None and named is None:
        raise InputError("--of needs names for its clusters", hint="Type --part eyes=3,7")
    with (
        Studio(bundle, backend=backend, detector=detector) as studio,
        count_bar("clustering", quiet=as_json) as show,
    ):
        if of is not None:
            found = load_catalogue(of).named(named or {})
            found.check(studio.engine.bundle)
        else:
            found = studio.make_catalogue(
                parts=named, layer=layer, clusters=clusters, samples=samples, seed=seed,
                callback=show,
            )  # fmt: skip
        found = replace(found, licence=licence or found.licence, note=note or found.note)
        if look is not None:
            studio.show_catalogue(found).save(look, mark=mark)
    found.save(output)
    answer(
        {"output": output, **found.record()},
        f"{output}: {', '.join(found.parts)}, of {len(found.centres)} clusters",
        as_json=as_json,
    )


def _part(text: str) -> tuple[str, tuple[int, ...]]:
    from mien.errors import InputError

    name, _, numbers = text.partition("=")
    try:
        return name, tuple(int(number) for number in numbers.split(","))
    except ValueError:
        raise InputError(
            f"--part {text!r} is not understood", hint="Type a name and clusters: eyes=3,7"
        ) from None
