"""`mien make-expression`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Bundle, Detector, Json, answer


def command(
    neutral: Annotated[
        list[Path], typer.Option("--neutral", help="A neutral face. Repeat it for each pair.")
    ],
    emotional: Annotated[
        list[Path], typer.Option("--with", help="The same person with the expression. Repeat it.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.safetensors.")],
    name: Annotated[str | None, typer.Option(help="Unasked, that of the file.")] = None,
    layers: Annotated[
        str | None, typer.Option(help="That it is added to; unasked, all but layer 0.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Kept in the file.")] = "",
    note: Annotated[str, typer.Option(help="Kept in the file.")] = "",
    aligned: Annotated[
        bool, typer.Option("--aligned", help="These are crops of the generator's size already.")
    ] = False,
    detector: Detector = None,
    steps: Annotated[int | None, typer.Option(help="Adam steps of the projections.")] = None,
    bundle: Bundle = "demo",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Make an expression of photographs: pairs of one person, neutral and with the expression.

    Codes (.npy) are taken as they are, without projecting.

    Example: mien make-expression --neutral n.png --with h.png -o happy.safetensors --aligned
    """
    from mien.cli.progress import step_bar
    from mien.edits.express import expression_from_codes
    from mien.edits.expression import KIND
    from mien.edits.latents import F32, load_code
    from mien.edits.settings import ProjectionSettings
    from mien.edits.tensor_files import check_suffix
    from mien.images import load
    from mien.provenance import digest
    from mien.studio import Studio

    check_suffix(output, KIND)
    settings = ProjectionSettings() if steps is None else ProjectionSettings(steps=steps)
    files = [*neutral, *emotional]
    with (
        Studio(bundle, backend=backend, detector=detector) as studio,
        step_bar("projecting", quiet=as_json) as show,
    ):
        codes: dict[int, F32] = {
            i: load_code(path) for i, path in enumerate(files) if path.suffix == ".npy"
        }
        rest = [i for i in range(len(files)) if i not in codes]
        crops = [load(files[i]) if aligned else studio.align(files[i]).image for i in rest]
        if crops:
            found = studio.project_all(crops, settings, callback=show)
            codes |= {i: f.ws for i, f in zip(rest, found, strict=True)}
        made = expression_from_codes(
            [codes[i] for i in range(len(neutral))],
            [codes[i] for i in range(len(neutral), len(files))],
            name=name or output.stem,
            layers=layers,
            bundle=studio.engine.bundle,
            sources=[digest(path) for path in files],
            licence=licence,
            note=note,
        )
    made.save(output)
    answer(
        {"output": output, **made.record(), "layers": made.mask.nonzero()[0].tolist()},
        f"{output}: {made.name}, of {len(neutral)} pair{'s' * (len(neutral) > 1)}",
        as_json=as_json,
    )
