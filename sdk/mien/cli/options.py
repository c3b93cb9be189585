"""Options that several verbs share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import InputError
from mien_engines import Choice

if TYPE_CHECKING:
    from mien.images import U8
    from mien.studio import Studio

Bundle = Annotated[str, typer.Option("--bundle", help="A bundle's folder or zip, or demo.")]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="ort, ort-cuda, ov, ov-bf16, or trt and rtx (-fp16, -bf16), whose plans mien build "
        "makes; unasked, the fastest that passes.",
    ),
]
Detector = Annotated[
    Path | None,
    typer.Option(
        "--detector",
        envvar="MIEN_DETECTOR",
        help="What finds faces: a YuNet ONNX file or a bundle of family faces.",
    ),
]
LandmarksFile = Annotated[
    Path | None,
    typer.Option("--landmarks", help="A file of 5 or 68 points, instead of a detector."),
]
Which = Annotated[
    str, typer.Option("--face", help="Of several faces: only, largest, or a number, 0 at the left.")
]
Aligned = Annotated[
    bool, typer.Option("--aligned", help="The pictures are crops of faces already.")
]
Mark = Annotated[
    bool,
    typer.Option("--mark/--no-mark", help="Say in the file that mien made it, and of what."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def numbers(text: str, option: str) -> list[float]:
    """Return the numbers of "0,0.5,1". Raises InputError, which names the option."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"{option} {text!r} is not a number", hint="Type one, or several with commas"
        ) from None


def which_face(text: str) -> Any:
    """Return what `--face` means: a word, or a number."""
    return int(text) if text.isdigit() else text


def crop_of(studio: Studio, photo: Path, family: str, which: str, *, aligned: bool) -> U8:
    """Return the face of a photograph, as `studio.align` cuts it out for a family's network."""
    from mien.images import load

    if aligned:
        return load(photo)
    return studio.align(photo, which=which_face(which), size=studio.face_size(family)).image


def check_picture_name(output: Path) -> None:
    """Raise InputError, before the work, where output is not named as a picture."""
    from mien.images import SUFFIXES

    if output.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{output.name} is not named as a picture", hint=f"Name it {', '.join(SUFFIXES)}"
        )


def answer(record: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print a verb's result: a sentence for people, JSON for programs."""
    typer.echo(json.dumps(record, default=str) if as_json else sentence)


def engines_used(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    """Return who ran which graph, for a record."""
    return [
        {"graph": c.graph, "backend": c.backend, "precision": c.precision, "seconds": c.seconds}
        for c in choices
    ]


def as_domain(text: str | None) -> str | int | None:
    """Return a domain of translation as it was typed: a number, or a name."""
    return int(text) if text and text.isdigit() else text or None
