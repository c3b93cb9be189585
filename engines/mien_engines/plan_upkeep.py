"""Keeping the folder of plans small: what is too much, of no more use, or left by the killed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from mien_engines.cache import ORPHAN_AGE_S, sweep_partial
from mien_engines.errors import Untrusted
from mien_engines.plan_file import read_header

KERNELS_SUFFIX = ".kernels"  # what TensorRT-RTX compiled of a plan, beside it

logger = logging.getLogger("mien")


def trim(root: Path, limit_bytes: int, kept: Path | None = None) -> list[Path]:
    """Remove the plans that were used least recently, until the rest is within the limit."""
    now, entries, total = time.time(), [], 0
    for path in root.glob("*/*.plan"):
        with contextlib.suppress(OSError):
            state = path.stat()
            nbytes = state.st_size + _size(path.with_suffix(KERNELS_SUFFIX))
            # A time in the future, from a clock that was set back, is as good as now.
            entries.append((min(state.st_mtime, now), nbytes, path))
            total += nbytes
    removed = []
    for _, nbytes, path in sorted(entries):
        if total <= limit_bytes:
            break
        if path != kept:
            with contextlib.suppress(OSError):
                _remove(path)
                total -= nbytes
                removed.append(path)
    return removed


def clear_stale(root: Path, machine: Mapping[str, Any]) -> list[Path]:
    """Remove what was made for this GPU before its driver was updated: none of it can be used.

    What another version of TensorRT made, or one of other flags, may be of another environment on
    this machine, and stays until `trim` finds that it is not used.
    """
    decisive = {name: machine[name] for name in ("sm", "driver")}
    removed = []
    for path in root.glob("*/*.plan"):
        with contextlib.suppress(OSError, Untrusted):
            key = read_header(path).key
            mine = key.library == machine["library"] and key.gpu == machine["gpu"]
            differing = key.differences(decisive)
            if mine and differing:
                _remove(path)
                removed.append(path)
                logger.info("removed the plan of graph %s: %s", key.graph, "; ".join(differing))
    current = timing_path(root, machine)
    same = current.name.rpartition("-")[0]  # library, its version, GPU
    for path in root.glob(f"{same}-*.cache"):
        if path != current:
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def sweep(root: Path) -> None:
    """Remove what killed builders left more than an hour ago: parts, locks, empty folders."""
    for folder in [root, *(path for path in root.glob("*") if path.is_dir())]:
        sweep_partial(folder)
        for lock in filter(_is_old, folder.glob("*.lock")):
            # Whoever builds holds it, however long, and then it stays.
            with contextlib.suppress(OSError, filelock.Timeout), filelock.FileLock(lock, timeout=0):
                lock.with_suffix(".pid").unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        for kernels in folder.glob(f"*{KERNELS_SUFFIX}"):
            if _is_old(kernels) and not kernels.with_suffix(".plan").exists():
                with contextlib.suppress(OSError):
                    kernels.unlink()
        if folder != root and _is_old(folder):
            with contextlib.suppress(OSError):
                folder.rmdir()  # refuses where something is in it


def timing_path(root: Path, machine: Mapping[str, Any]) -> Path:
    """Where kernels' measured times are kept: for one TensorRT on one kind of GPU."""
    who, driver = (
        hashlib.sha256("\0".join(machine[name] for name in names).encode()).hexdigest()[:8]
        for names in (("version", "gpu", "sm"), ("driver",))
    )
    return root / f"timing-{machine['library']}-{who}-{driver}.cache"


def _remove(plan: Path) -> None:
    """With what was compiled of it. Raises OSError."""
    plan.with_suffix(KERNELS_SUFFIX).unlink(missing_ok=True)
    plan.unlink()


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ORPHAN_AGE_S
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
