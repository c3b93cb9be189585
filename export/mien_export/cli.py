"""`mien export`: the entry point of group mien.commands."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from mien_engines.errors import MissingDependency
from mien_export.families import FAMILIES

NEEDED = ("torch", "onnx", "onnxscript")
HELP_WIDTH = 76  # characters: a help page has 80, and an indent
EXAMPLES = """\
  mien export stylegan2 ffhq.pkl -o ffhq --vgg vgg16.pth --lpips vgg.pth
  mien export stylegan2 ffhq.pkl -o ffhq-swap --arcface iresnet50.pth
  mien export arcface iresnet50.pth -o arcface
  mien export generic candy.onnx -o candy --range 255"""


def command(
    family: Annotated[str, typer.Argument(help="Which network: a family of the list above.")],
    checkpoint: Annotated[Path, typer.Argument(help="The trained network, a file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new bundle.")],
    vgg: Annotated[
        Path | None, typer.Option(help="stylegan2: torchvision's vgg16 state dict, for LPIPS.")
    ] = None,
    lpips: Annotated[
        Path | None, typer.Option(help="stylegan2, vgg: LPIPS heads for VGG, version 0.1.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="stylegan2: encoder into its W+ (safetensors).")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="faces: a landmark network beside the detector.")
    ] = None,
    arcface: Annotated[
        Path | None, typer.Option(help="stylegan2: a recognition network, for mien swap.")
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option("--range", help="generic: values of its images, 255, 1 or sym."),
    ] = None,
    domains: Annotated[
        str | None,
        typer.Option(help="starganv2: names of its domains, in its order: female,male."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16.")] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Add graphs that compute in float16, with their errors.")
    ] = False,
    licence: Annotated[str, typer.Option(help="Licence of the checkpoint.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a trained checkpoint into a bundle of ONNX graphs."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependency(
            f"export needs {', '.join(missing)}", hint="Install it: pip install 'mien[export]'"
        )
    from mien_export.content import Extras
    from mien_export.export import export  # loads torch
    from mien_export.progress import announce

    extras = Extras(
        vgg=vgg,
        lpips=lpips,
        encoder=encoder,
        arcface=arcface,
        landmarks=landmarks,
        value_range=value_range,
        domains=domains,
    )
    with announce(quiet=as_json) as progress:
        notes = export(
            family, checkpoint, output, extras,
            licence=licence, half=half, fp16=fp16, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    report(output, notes, as_json=as_json)


def families() -> str:
    """Return FAMILIES in two columns, the second folded."""
    width = max(map(len, FAMILIES))
    return "\n".join(
        textwrap.fill(
            reads,
            HELP_WIDTH,
            initial_indent=f"  {name:{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_on_hyphens=False,
        )
        for name, reads in FAMILIES.items()
    )


# Typer prints the docstring; \b keeps the lines of a paragraph as they are.
command.__doc__ = f"""{command.__doc__}

\b
Families, and the checkpoints they read:
{families()}

\b
Examples:
{EXAMPLES}"""


def report(folder: Path, notes: tuple[str, ...], *, as_json: bool) -> None:
    """Say what was written."""
    size = sum(p.stat().st_size for p in folder.iterdir())
    if as_json:
        typer.echo(json.dumps({"bundle": str(folder), "bytes": size, "notes": notes}))
        return
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{folder}: {size / 1e6:.1f} MB. Look at it: mien info {folder}")
