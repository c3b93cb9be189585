"""Where plans are kept, and what makes one acceptable.

A plan is code that runs on this machine: loading one from someone else is running their program. So
plans are built here and kept where only their owner can write, each with a header that says what it
was made of, for which machine, and how far it is from the reference. What differs is not loaded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from mien_engines.cache import cache_dir, make_private_dir, write_atomic
from mien_engines.errors import Busy, NotBuilt, Untrusted
from mien_engines.plan_file import PlanHeader, PlanKey, packed, read_header, unpacked

LIMIT_BYTES = 16 << 30  # of all plans together; MIEN_PLANS_GB sets another
WAIT_S = 1800.0
# What decides whether a plan runs here, in the order in which a difference is told.
MACHINE = ("library", "version", "gpu", "sm", "driver", "flags", "revision")

KERNELS_SUFFIX = ".kernels"  # what TensorRT-RTX compiled of a plan, beside it

logger = logging.getLogger("mien")


class PlanCache:
    """The plans of this user on this machine.

    Args:
        root: where they lie; None means the folder `plans` of mien's cache.
        limit_bytes: of all together; those that were used least recently go first.
    """

    def __init__(self, root: Path | None = None, limit_bytes: int | None = None) -> None:
        self.root = root or cache_dir() / "plans"
        self.limit_bytes = _limit() if limit_bytes is None else limit_bytes

    def path(self, key: PlanKey) -> Path:
        return self.root / key.folder / f"{key.name}.plan"

    def store(self, header: PlanHeader, plan: bytes) -> bool:
        """Keep a plan. Returns False, after one log line, where it cannot be written."""
        path = self.path(header.key)
        if not write_atomic(path, packed(header, plan)):
            return False
        self.trim(kept=path)
        return True

    def find(self, wanted: Mapping[str, Any]) -> Path:
        """The accepted plan whose key has these fields; of several, such as of other sizes, the one
        that was built or asked for last.

        Raises NotBuilt, which says what is different about the nearest one.
        """
        folder = self.root / f"{wanted['graph']}-{wanted['digest'][:16]}"
        paths = list(folder.glob(f"{wanted['library']}-{wanted['precision']}-*.plan"))
        build_it = f"Type: mien build BUNDLE --backend {wanted['library']} " + (
            f"--precision {_typed(wanted['precision'])} --graph {wanted['graph']}"
        )
        what = (
            f"graph {wanted['graph']} has no plan of {wanted['library']} in {wanted['precision']}"
        )
        found: list[tuple[float, Path]] = []
        near: list[list[str]] = []
        for path in paths:
            try:
                header = read_header(path)
            except Untrusted as error:
                near.append([error.message])
                continue
            differing = _differences(header.key, wanted)
            if differing:
                near.append(differing)
            elif not header.verdict.accepted:
                near.append([f"it was not accepted: {header.verdict.detail}"])
            else:
                found.append((_written(path), path))
        if found:
            return max(found)[1]
        nearest = min(near, key=len, default=[])
        reason = f": {'; '.join(nearest)}" if nearest else ""
        raise NotBuilt(f"{what} for this machine{reason}", hint=build_it)

    def load(self, path: Path, *, trust_engine: bool = False) -> tuple[PlanHeader, bytes]:
        """A plan, whole. trust_engine: load it although others may have written it.

        Raises Untrusted: it is damaged, or lies where others can write.
        """
        if not trust_engine:
            self.check_owner(path)
        header, plan = unpacked(path)
        with contextlib.suppress(OSError):
            os.utime(path)  # what is used is kept longest
        return header, plan

    @contextlib.contextmanager
    def building(
        self, key: PlanKey, wait_s: float = WAIT_S, waiting: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Build a plan alone: other processes that want it wait here, and find it afterwards.

        The lock is the operating system's, so it is free when its holder dies. Where no lock can
        be made, nothing is kept either, and nobody waits. Raises Busy after `wait_s`.
        """
        path = self.path(key)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        holder = path.with_suffix(".pid")
        try:
            make_private_dir(path.parent)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                if waiting is not None:
                    waiting(f"process {_read(holder)} builds it; waiting")
                lock.acquire(timeout=wait_s, poll_interval=0.05)
            with contextlib.suppress(OSError):
                holder.write_text(str(os.getpid()))
        except filelock.Timeout as error:
            raise Busy(
                f"process {_read(holder)} has been building the plan of graph {key.graph} "
                f"for more than {wait_s:.0f} s",
                hint="Wait longer, or end that process",
            ) from error
        except OSError as error:
            logger.warning("no lock can be made in %s: %s", path.parent, error)
        try:
            yield
        finally:
            if lock.is_locked:
                with contextlib.suppress(OSError):
                    holder.unlink(missing_ok=True)
                lock.release()

    def trim(self, kept: Path | None = None) -> list[Path]:
        """Remove what was used least recently, until the rest is within the limit."""
        now, entries, total = time.time(), [], 0
        for path in self.root.glob("*/*.plan"):
            with contextlib.suppress(OSError):
                state = path.stat()
                nbytes = state.st_size + _size(path.with_suffix(KERNELS_SUFFIX))
                # A time in the future, from a clock that was set back, is as good as now.
                entries.append((min(state.st_mtime, now), nbytes, path))
                total += nbytes
        removed = []
        for _, nbytes, path in sorted(entries):
            if total <= self.limit_bytes:
                break
            if path != kept:
                with contextlib.suppress(OSError):
                    _remove(path)
                total -= nbytes
                removed.append(path)
        return removed

    def clear_stale(self, machine: Mapping[str, Any]) -> list[Path]:
        """Remove plans for this GPU that another version of something built: none can be used."""
        removed = []
        for path in self.root.glob("*/*.plan"):
            with contextlib.suppress(OSError, Untrusted):
                key = read_header(path).key
                mine = key.library == machine["library"] and key.gpu == machine["gpu"]
                differing = _differences(key, machine)
                if mine and differing:
                    _remove(path)
                    removed.append(path)
                    logger.info("removed the plan of graph %s: %s", key.graph, "; ".join(differing))
        return removed

    def check_owner(self, path: Path) -> None:
        """Raises Untrusted: it is not in the cache, or others than its owner could write it."""
        inside = path.is_relative_to(self.root)
        if not inside:
            raise Untrusted(
                f"{path} is a plan from elsewhere, and loading it can run its code",
                hint="Build it here, or say that you trust it: trust_engine=True",
            )
        folders = [self.root, *(self.root / part for part in path.relative_to(self.root).parents)]
        for place in {path, *folders}:
            state = place.lstat() if place.exists() else None
            if state is None:
                raise Untrusted(f"{place} is gone", hint="Build the plan again")
            if stat.S_ISLNK(state.st_mode):
                raise Untrusted(f"{place} is a link", hint="Remove it, and build the plan again")
            if not hasattr(os, "geteuid"):
                continue  # Windows: the user's own folders are theirs alone
            if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                raise Untrusted(
                    f"others than you can write {place}",
                    hint=f"Remove it, or type: chmod go-w {place}; then build the plan again",
                )


def _remove(path: Path) -> None:
    """A plan, and what was compiled of it. Raises OSError."""
    path.with_suffix(KERNELS_SUFFIX).unlink(missing_ok=True)
    path.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _written(path: Path) -> float:
    """When a plan was written or used last; a time in the future counts for none, so that a plan
    from before a clock was set back does not hide those that are built now."""
    written = path.stat().st_mtime
    return written if written <= time.time() else 0.0


def _differences(key: PlanKey, wanted: Mapping[str, Any]) -> list[str]:
    return [
        f"it was built for {name} {shown(getattr(key, name))}, this is {shown(wanted[name])}"
        for name in MACHINE
        if name in wanted and getattr(key, name) != wanted[name]
    ]


def shown(value: object) -> str:
    """A field of a key, for people."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _typed(precision: str) -> str:
    """A precision as the command line has it."""
    return "fp32" if precision == "f32" else precision


def _limit() -> int:
    try:
        return int(float(os.environ["MIEN_PLANS_GB"]) * 1e9)
    except (KeyError, ValueError):
        return LIMIT_BYTES


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return "unknown"
