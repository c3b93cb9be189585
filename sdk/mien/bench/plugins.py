"""What the export package adds, found by entry points: torch beside ours.

Group `mien.bench`: name -> `(bundle, graph, checkpoint, extras) -> Backend`, which runs the network
that a graph was made from.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

from mien.errors import InputError, MissingDependency
from mien_engines import Bundle
from mien_engines.backends.base import Backend

RIVALS = "mien.bench"
INSTALL = "Install it: pip install 'mien[export]'"


def rivals() -> tuple[str, ...]:
    """Names of those whom a graph can be measured against."""
    return tuple(sorted(point.name for point in importlib.metadata.entry_points(group=RIVALS)))


def rival(
    name: str,
    bundle: Bundle,
    graph: str,
    checkpoint: Path | None,
    extras: Mapping[str, Path],
) -> Backend:
    """Make the rival of a graph.

    extras: files that the export took beside the checkpoint, by the names of its options.

    Raises:
        MissingDependency: the export extra is not installed.
        InputError: there is no such rival; it needs the checkpoint, and none was named.
        ModelError: the checkpoint, or an extra, is not the one that the bundle was made from.
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=RIVALS)}
    if not points:
        raise MissingDependency(f"measuring against {name} needs the export package", hint=INSTALL)
    if name not in points:
        raise InputError(f"there is no rival {name!r}", hint=f"There are: {', '.join(points)}")
    # Before torch is loaded: else its threads spin while they wait, and where others want the
    # processor, too, it is many times slower, which says nothing about torch (docs/performance.md,
    # benchmarks/calm.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        make = points[name].load()
    except ImportError as error:
        raise MissingDependency(
            f"measuring against {name} needs {error.name}", hint=INSTALL
        ) from error
    made: Backend = make(bundle, graph, checkpoint, extras)
    return made
