"""What leaves this package when a file is not what it should be: one typed error, of one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien_engines.errors import CorruptFile, LimitExceeded, MienError, ModelError

LONGEST = 80  # characters of a foreign text that an error repeats
LISTED = 5  # names that an error lists


@contextmanager
def typed_errors(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes of its reader into an error of mien's tree, naming it."""
    try:
        with naming(path):
            yield
    except MienError:
        raise
    except (MemoryError, RecursionError) as error:
        raise LimitExceeded(
            f"{path.name} wants more memory than there is", hint="Is it a checkpoint at all?"
        ) from error
    except Exception as error:
        raise CorruptFile(
            f"{path.name} is damaged: {type(error).__name__}, {shown(str(error))}",
            hint="Copy or download it again",
        ) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of a ModelError that does not say it."""
    try:
        yield
    except ModelError as error:
        if path.name in error.message:
            raise
        raise type(error)(f"{path.name}: {error.message}", hint=error.hint) from error


def shown(value: Any) -> str:
    """Name a foreign value: short, on one line, with nothing that a terminal would obey.

    Containers are named by their type alone: a hundred bytes of pickle can nest a tuple whose
    repr has 2^60 items.
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return "an int of more than 64 bits"
    if not isinstance(value, str | int | float | type(None)):
        return f"a {type(value).__name__}"
    text = str(value)
    cut = "".join(c if c.isprintable() else "?" for c in text[:LONGEST])
    return cut + ("..." if len(text) > LONGEST else "")


def listed(values: Iterable[Any]) -> str:
    """Name the first few of values."""
    names = [shown(value) for value in values]
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def sized(values: Any) -> str:
    """Name a shape, which is shown item by item because a file may put anything in it."""
    if not isinstance(values, tuple | list):
        return shown(values)
    return f"({listed(values)})"
