"""Where results lie: each under the SHA-256 of all that it is made of, whole or not at all.

OUT/objects/ab/abcd....png      results, by address
OUT/results/NAME.png            the same files under the items' names (hard links, or copies)
OUT/parts/ADDRESS/              segments of films that are not joined yet
OUT/index.jsonl, report.json    which item is where, and how the run went
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

OBJECTS, RESULTS, PARTS = "objects", "results", "parts"
MAKING, TRIES = "making", "tries"  # while a run lasts


def address_of(made_of: Mapping[str, Any]) -> str:
    """Return the address of a result: SHA-256 of what it is made of, as JSON with sorted keys."""
    text = json.dumps(made_of, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The folder of a run. Any number of processes may put results into it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, address: str, suffix: str) -> Path:
        """Return where a result lies, or will."""
        return self.folder / OBJECTS / address[:2] / f"{address}{suffix}"

    def parts(self, address: str) -> Path:
        """Return the folder of a film's segments."""
        return self.folder / PARTS / address

    def put(self, address: str, suffix: str, write: Callable[[Path], object]) -> Path:
        """Have write make a result; two that make the same do not disturb each other."""
        place = self.place(address, suffix)
        with self._making() as folder:
            write(folder / f"made{suffix}")
            _settle(folder / f"made{suffix}")
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / f"made{suffix}").replace(place)
        return place

    def name(self, address: str, suffix: str, name: str) -> Path:
        """Give a result the name of its item, too."""
        source, target = self.place(address, suffix), self.folder / RESULTS / f"{name}{suffix}"
        with self._making() as folder:
            try:
                os.link(source, folder / "linked")
            except OSError:  # a file system without links
                shutil.copyfile(source, folder / "linked")
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "linked").replace(target)
        return target

    def begin(self, key: str) -> int:
        """Note that something is tried, and return how many tries before never came to an end."""
        folder = self.folder / MAKING / TRIES / key
        folder.mkdir(parents=True, exist_ok=True)
        before = len(list(folder.iterdir()))
        (folder / uuid.uuid4().hex).touch()
        return before

    def end(self, key: str) -> None:
        """Note that a try came to an end, whichever."""
        shutil.rmtree(self.folder / MAKING / TRIES / key, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what processes left that were killed. Nobody else may be at work."""
        shutil.rmtree(self.folder / MAKING, ignore_errors=True)

    @contextlib.contextmanager
    def _making(self) -> Iterator[Path]:
        """A folder of one's own, for what is not whole yet."""
        folder = self.folder / MAKING / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _settle(path: Path) -> None:
    """Have the disk hold a file before a name says that it does."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
