"""A checkpoint of a family becomes a bundle."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from mien_engines.errors import InputError
from mien_engines.spec import Source
from mien_export.content import Content, Extras
from mien_export.families import FAMILIES
from mien_export.to_bundle import Progress, write_bundle

NO_EXTRAS = Extras()


def export(
    family: str,
    checkpoint: Path,
    folder: Path,
    extras: Extras = NO_EXTRAS,
    *,
    licence: str = "not stated",
    name: str | None = None,
    half: bool = False,
    fp16: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> tuple[str, ...]:
    """Read checkpoint and write its bundle to folder. Returns remarks the user should know.

    Args:
        family: one of FAMILIES.
        licence: of the checkpoint, for the bundle's record.
        name: of the bundle; None is the folder's.
        half: store weights as float16; graphs still compute in float32.
        fp16: add a float16 form of each graph, with its error.
        overwrite: replace folder, once the new bundle is whole.

    Raises:
        InputError: an unknown family, a folder that exists, an extra that is of no use.
        ModelError: the checkpoint cannot be used; nothing is left behind then.
    """
    check_family(family)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already", hint="Name another folder or add --overwrite")
    progress("reading", 0, 1)
    module = importlib.import_module(f"mien_export.families.{family}")
    content: Content = module.content(checkpoint, extras)
    write_bundle(
        folder,
        content.graphs,
        name=name or folder.stem,
        family=family,
        source=Source(
            file=checkpoint.name, format=content.format, sha256=content.sha256, licence=licence
        ),
        properties=content.properties,
        constants=content.constants,
        half=half,
        fp16=fp16,
        overwrite=overwrite,
        progress=progress,
    )
    return content.notes


def check_family(family: str) -> None:
    """Raise InputError, with the nearest name, where there is no such family."""
    if family in FAMILIES:
        return
    near = difflib.get_close_matches(family, FAMILIES, 1, 0.5)
    guess = f"Did you mean {near[0]}? " if near else ""
    raise InputError(
        f"family {family!r} is not known", hint=f"{guess}Type one of {', '.join(FAMILIES)}"
    )
