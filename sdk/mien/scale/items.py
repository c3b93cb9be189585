"""What a run works on: the files of a folder, or the rows of a manifest."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.bundles import built_in_styles
from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.scale.verbs import Verb

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".ts", ".gif")
CODES = (".npy",)
MANIFESTS = (".csv", ".jsonl")
NAME = "name"  # the column of a manifest that is the result's name


@dataclass(frozen=True)
class Item:
    """name: of the result, a path without suffix. arguments: of the verb; files by whole paths."""

    name: str
    arguments: Mapping[str, Any]
    film: bool = False


def items_of(verb: Verb, source: Path) -> list[Item]:
    """Return the items of a folder, a manifest (.csv, .jsonl) or a single file, in order of name.

    A manifest has a row an item and a column an argument; its paths are relative to it.

    Raises InputError: nothing there, nothing in it, two items of one name. CorruptFile: a manifest
    that cannot be read.
    """
    if source.is_dir():
        items = _in_folder(verb, source)
    elif source.suffix.lower() in MANIFESTS and source.is_file():
        items = _in_manifest(verb, source)
    elif source.is_file():
        items = [_item(verb, source, source.stem)]
    else:
        raise InputError(f"there is no {shown(source)}", hint="Name a folder, a manifest or a file")
    if not items:
        wanted = ", ".join(_suffixes(verb))
        raise InputError(f"{shown(source)} has nothing to do", hint=f"Files of it are {wanted}")
    twice = [name for name, count in Counter(item.name for item in items).items() if count > 1]
    if twice:
        raise InputError(f"two items are called {twice[0]!r}", hint="Give each a name of its own")
    return items


def _suffixes(verb: Verb) -> tuple[str, ...]:
    own = CODES if verb.kinds[verb.item] == "code" else PICTURES
    return (*own, *FILMS) if verb.film is not None else own


def _in_folder(verb: Verb, folder: Path) -> list[Item]:
    suffixes = _suffixes(verb)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    stems = Counter(path.relative_to(folder).with_suffix("") for path in files)
    items = []
    for path in files:
        name = path.relative_to(folder)
        short = name.with_suffix("")
        items.append(_item(verb, path, (short if stems[short] == 1 else name).as_posix()))
    return items


def _item(verb: Verb, path: Path, name: str) -> Item:
    film = path.suffix.lower() in FILMS
    return Item(name, {verb.item: str(path.resolve())}, film)


def _in_manifest(verb: Verb, path: Path) -> list[Item]:
    try:
        text = path.read_text("utf-8-sig")
        rows: Iterable[Any] = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if path.suffix.lower() == ".jsonl"
            else list(csv.DictReader(text.splitlines(), strict=True))
        )
        return [_row(verb, path.parent, number, row) for number, row in enumerate(rows, 1)]
    except (OSError, ValueError, csv.Error) as error:
        raise CorruptFile(
            f"{shown(path)} is no manifest that can be read: {' '.join(str(error).split())}",
            hint="A CSV with a header, or a JSON object a line",
        ) from error


def _row(verb: Verb, folder: Path, number: int, row: Any) -> Item:
    if not isinstance(row, dict) or None in row or None in row.values():
        raise ValueError(f"row {number} has other columns than the first")
    arguments = {n: _value(v) for n, v in row.items() if n != NAME and v != ""}
    if verb.item not in arguments:
        raise InputError(
            f"row {number} of the manifest has no {verb.item}",
            hint=f"Give a column {verb.item}",
        )
    arguments = {n: _resolved(verb, folder, n, v) for n, v in arguments.items()}
    first = Path(str(arguments[verb.item]))
    name = str(row.get(NAME) or f"{number:06d}-{first.stem}")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"row {number} is called {name!r}", hint="Give a name inside the folder")
    return Item(name, arguments, first.suffix.lower() in FILMS)


def _value(text: Any) -> Any:
    """A cell: a number or a truth value where it is one, else the text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _resolved(verb: Verb, folder: Path, name: str, value: Any) -> Any:
    kind = verb.kinds.get(name)
    if isinstance(value, list):
        return [_resolved(verb, folder, name, one) for one in value]
    if kind is None or not isinstance(value, str):
        return value
    if kind == "style" and value in built_in_styles():
        return value
    path = folder / value
    return str(path.resolve()) if kind != "named" or path.exists() else value
