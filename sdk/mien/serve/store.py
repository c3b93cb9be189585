"""Faces, styles and photographs by random names, in memory; the oldest go first."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.edits.stylize import Style
from mien.faces.align import AlignedFace
from mien.serve.errors import NotFound

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
T = TypeVar("T")

ID = r"^[0-9a-f]{32}$"


def new_id() -> str:
    """Return a name that nobody guesses: 128 random bits."""
    return secrets.token_hex(16)


class Kept(Generic[T]):
    """Things by name, as many as are allowed; those that were asked for least recently go."""

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self._things: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, name: str, thing: T) -> None:
        with self._lock:
            self._things[name] = thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)

    def __getitem__(self, name: str) -> T:
        """Return one. Raises NotFound."""
        with self._lock:
            if name not in self._things:
                raise NotFound(
                    f"there is no {self._what} {name!r}",
                    hint=f"Send it again: a service keeps the latest {self._most}",
                )
            self._things.move_to_end(name)
            return self._things[name]

    def get(self, name: str) -> T | None:
        with self._lock:
            return self._things.get(name)

    def remove(self, name: str) -> None:
        with self._lock:
            self._things.pop(name, None)

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[T]:
        with self._lock:
            return iter(list(self._things.values()))


@dataclass(eq=False)
class Face:
    """A face that somebody works with.

    crop: uint8 RGB, at the generator's size. large: the same at the size that styles are drawn at.
    aligned: its place in the photograph; photo: the photograph's name. None of nobody's face, and
    of one that was found again after a restart.
    code: W+, float32 [L, D], once it is known. picture: as a swap drew it. how: the edits that made
    its code.
    """

    id: str
    crop: U8
    large: U8
    aligned: AlignedFace | None = None
    photo: str | None = None
    code: F32 | None = None
    how: tuple[str, ...] = ()


class Photos:
    """The bytes of photographs, which faces are pasted back into; all together have a limit."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        name = new_id()
        with self._lock:
            self._files[name] = data
            self._size += len(data)
            while self._size > self._most:
                self._size -= len(self._files.popitem(last=False)[1])
        return name

    def __getitem__(self, name: str | None) -> bytes:
        """Return one. Raises NotFound."""
        with self._lock:
            if name is None or name not in self._files:
                raise NotFound(
                    "the face's photograph is not here any more", hint="Send the photograph again"
                )
            return self._files[name]


class Store:
    """All that clients sent and that is kept for them."""

    def __init__(self, faces: int, styles: int, photo_bytes: int) -> None:
        self.faces: Kept[Face] = Kept("face", faces)
        self.styles: Kept[Style] = Kept("style", styles)
        self.photos = Photos(photo_bytes)
