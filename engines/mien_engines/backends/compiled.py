"""Compiled forms of graphs, kept between processes.

The runtimes' own caches are not used: their keys leave out the weights, or their files are not
written atomically. Here the folder is the bundle's (its fingerprint covers the weights), the name
covers whatever else decides the result, and the content starts with its own hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien_engines.cache import write_atomic

DIGEST_BYTES = 32


def compiled_path(cache: Path | None, stem: str, *decisive: object) -> Path | None:
    """Where the compiled form of a graph lies that was made under these decisive conditions."""
    if cache is None:
        return None
    key = hashlib.sha256("\0".join(str(part) for part in decisive).encode()).hexdigest()
    return cache / f"{stem}-{key[:16]}.compiled"


def load_compiled(path: Path | None, restore: Callable[[bytes], Any]) -> Any | None:
    """What `restore` makes of the kept bytes; None where there are none, or damaged ones."""
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    try:
        return restore(content)
    except RuntimeError:  # the runtime does not take its own file back: it is compiled again
        return None


def save_compiled(path: Path, content: bytes) -> None:
    """Keep a compiled form for the next process; where that fails, do without."""
    write_atomic(path, hashlib.sha256(content).digest() + content)
