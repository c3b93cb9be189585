"""Files that are whole or not there: written beside their place, and moved to it at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mien.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write what then replaces path; where that fails nothing of it stays.

    Raises OSError as the writing and the moving do.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        # Where the folder is none, or forbidden, that would hide why nothing was written.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write bytes, or a text as UTF-8. Raises InputError."""
    path = Path(path)
    try:
        with replacing(path) as partial:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        from mien.decode import shown  # it loads Pillow, which reports and codes do without

        raise InputError(
            f"{shown(path)} cannot be written: {error.strerror or error}", hint="Check the folder"
        ) from error
    return path
