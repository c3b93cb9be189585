"""What the export package adds, found by entry points: torch beside ours.

Group `mien.bench`: name -> `(bundle, graph, checkpoint, extras) -> Backend`, which runs the network
that a graph was made from.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
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
    with _waiting_asleep():
        try:
            make = points[name].load()
        except ImportError as error:
            raise MissingDependency(
                f"measuring against {name} needs {error.name}", hint=INSTALL
            ) from error
        made: Backend = make(bundle, graph, checkpoint, extras)
    return made


@contextlib.contextmanager
def _waiting_asleep() -> Iterator[None]:
    """Load torch so that its threads sleep while they wait, unless the user chose otherwise.

    Else they spin, and where others want the processor, too, torch is many times slower, which says
    nothing about torch (docs/performance.md, benchmarks/calm.py). OpenMP reads the variable when it
    is loaded, so that the environment is the caller's again afterwards.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)
