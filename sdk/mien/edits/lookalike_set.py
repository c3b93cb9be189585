"""A labelled set of look-alikes, to train face recognition with: folders of pictures and a table.

FOLDER/PERSON/00000.png and so on, FOLDER/PERSON/labels.csv, FOLDER/labels.csv of all of them, and
FOLDER/set.json, which says what the set is made of. Everything is a function of that record, so a
run that was broken off goes on where it stopped. A person's folder is renamed into place when it is
whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.decode import shown
from mien.edits.lookalike import Band, Lookalikes, check_wish, in_batches
from mien.errors import InputError
from mien.provenance import digest
from mien.whole_files import replacing
from mien_engines import Engine

U8 = NDArray[np.uint8]

RECORD, LABELS = "set.json", "labels.csv"
PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a plain name of a folder, anywhere


def write_set(
    engine: Engine,
    faces: Mapping[str, U8],  # each [R, R, 3]
    n: int,
    folder: Path,
    *,
    seed: int,
    between: Band | None,
    judge: Engine | None,
    mark: bool,
    callback: Callable[[int, int], object] | None,
) -> Path:
    """Write the set and return the path of its labels; arguments as in `Studio.lookalike_set`."""
    check_wish(n, seed, between)
    _check_names(faces)
    record = {
        "version": 1,
        "network": engine.bundle.spec.source.sha256,
        "backend": engine.backend_of("generate"),
        "judge": None if judge is None else judge.bundle.spec.source.sha256,
        "n": n,
        "seed": seed,
        "between": None if between is None else list(between),
        "marked": mark,
        "persons": [[name, digest(face)] for name, face in faces.items()],
    }
    try:
        _begin(folder, record)
        done = 0
        for i, (name, face) in enumerate(faces.items()):
            if not (folder / name).exists():
                parts = in_batches(engine, face, n, seed=seed + i, between=between, judge=judge)
                with _Person(folder, name, seed + i, mark) as person:
                    for part in parts:
                        person.add(part)
                        if callback is not None:
                            callback(done + person.count, n * len(faces))
            done += n
        return _write(folder / LABELS, _gathered(folder, list(faces)))
    except OSError as error:
        raise InputError(
            f"{shown(folder)} cannot be written: {error.strerror or error}",
            hint="Check the folder, then call again: it goes on",
        ) from error


class _Person:
    """The folder of one person, out of sight until it is whole."""

    def __init__(self, folder: Path, name: str, seed: int, mark: bool) -> None:
        self._target, self._partial = folder / name, folder / f".{name}.part"
        self._name, self._seed, self._mark = name, seed, mark
        self._rows: list[list[str]] = []
        self._head: list[str] = []

    @property
    def count(self) -> int:
        """Pictures so far."""
        return len(self._rows)

    def __enter__(self) -> _Person:
        shutil.rmtree(self._partial, ignore_errors=True)  # of a run that was killed
        self._partial.mkdir()
        return self

    def add(self, part: Lookalikes) -> None:
        """Write some more pictures, and keep their labels."""
        judged = [] if part.cosines is None else ["cosine"]
        controls = [f"control_{i}" for i in range(part.controls.shape[1])]
        self._head = ["file", "person", "seed", "number", *judged, *controls]
        for i in range(len(part)):
            file = f"{self.count:05d}.png"
            part.picture(i).save(self._partial / file, mark=self._mark)
            cosine = [] if part.cosines is None else [f"{part.cosines[i]:.6f}"]
            drawn = [f"{value:.9g}" for value in part.controls[i]]
            label = [f"{self._name}/{file}", self._name, str(self._seed), str(part.numbers[i])]
            self._rows.append([*label, *cosine, *drawn])

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            _write(self._partial / LABELS, _table([self._head, *self._rows]))
            self._partial.replace(self._target)
        else:
            shutil.rmtree(self._partial, ignore_errors=True)


def _check_names(faces: Mapping[str, U8]) -> None:
    if not faces:
        raise InputError("no face was given", hint="Give at least one")
    own = (RECORD, LABELS)
    wrong = [name for name in faces if not PERSON.fullmatch(name) or name.lower() in own]
    if wrong:
        raise InputError(
            f"{wrong[0]!r} cannot name a folder", hint="Use letters, digits, '.', '_' and '-'"
        )
    if len({name.lower() for name in faces}) < len(faces):
        raise InputError("two names differ by capitals alone", hint="Some file systems fold them")


def _begin(folder: Path, record: dict[str, Any]) -> None:
    """Say what the set is made of, or see that it was made of the same.

    A set of which nothing was drawn, such as one whose band nobody fell into, gives way.
    """
    kept = folder / RECORD
    if kept.is_file() and any(one != kept for one in folder.iterdir()):
        if kept.read_text("utf-8") != _text(record):
            raise InputError(
                f"{shown(folder)} holds another set",
                hint="Name a new folder, or ask for the same faces, n, seed and band again",
            )
        return
    if folder.exists() and (not folder.is_dir() or any(x != kept for x in folder.iterdir())):
        raise InputError(f"{shown(folder)} is not an empty folder", hint="Name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    _write(kept, _text(record))


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1) + "\n"


def _gathered(folder: Path, names: list[str]) -> str:
    """The labels of all persons, under one head."""
    tables = [(folder / name / LABELS).read_text("utf-8") for name in names]
    return tables[0] + "".join(table.partition("\n")[2] for table in tables[1:])


def _table(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    with replacing(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")
    return path
