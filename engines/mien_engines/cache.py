"""Where things that can be made again are kept, and how they are written.

A cache never decides whether a call succeeds: what cannot be read is made again, what cannot be
written is done without.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from functools import cache
from pathlib import Path

import platformdirs

ORPHAN_AGE_S = 3600  # no write takes as long

logger = logging.getLogger("mien")


def cache_dir() -> Path:
    """MIEN_CACHE_DIR, else the user's cache directory for mien. It need not exist."""
    chosen = os.environ.get("MIEN_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("mien")


def make_private_dir(path: Path) -> None:
    """Create a directory, and what is missing above it, for its owner alone. Raises OSError.

    `mkdir(parents=True)` would give its mode to the last one only, and those above would be as open
    as the user's other folders.
    """
    if not path.parent.exists():
        make_private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def write_atomic(path: Path, data: bytes) -> bool:
    """Write a file so that, whatever happens, the old or the new one is there, and whole.

    Returns False, after one log line a directory, where the file cannot be written.
    """
    temporary: Path | None = None
    try:
        make_private_dir(path.parent)
        _sweep(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        _say_once(str(path.parent), str(error))
        return False
    return True


@cache
def _sweep(folder: Path) -> None:
    """Once a process and folder."""
    sweep_partial(folder)


def sweep_partial(folder: Path) -> None:
    """Remove what writers that were killed have left behind."""
    for orphan in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - orphan.stat().st_mtime > ORPHAN_AGE_S:
                orphan.unlink()


@cache
def _say_once(folder: str, reason: str) -> None:
    logger.warning(
        "nothing is cached in %s: %s. Set MIEN_CACHE_DIR to a folder of yours", folder, reason
    )
