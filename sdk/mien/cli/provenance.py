"""`mien provenance`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Json, answer


def command(
    file: Annotated[
        Path, typer.Argument(help="A picture or a film: PNG, JPEG, WebP, GIF, MP4, MOV, MKV, WebM.")
    ],
    as_json: Json = False,
) -> None:
    """Say what a picture or a film states of its making: software, edits, sources, kind of source.

    Example: mien provenance happy.png
    """
    from mien.provenance import read

    found = read(file)
    if found is None:
        answer({"file": file, "provenance": None}, f"{file} says nothing", as_json=as_json)
        return
    lines = [
        f"made with      {found.software or 'unknown'}",
        f"kind of source {found.digital_source_type or 'unknown'}",
        *(f"edit           {edit}" for edit in found.edits),
        *(f"source         {source}" for source in found.sources),
    ]
    answer({"file": file, "provenance": found.record()}, "\n".join(lines), as_json=as_json)
