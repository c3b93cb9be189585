"""Where plans are kept, and what makes one acceptable.

A plan is code that runs on this machine: loading one from someone else is running their program. So
plans are built here and kept where only their owner can write, each with a header that says what it
was made of, for which machine, and how far it is from the reference. What differs is not loaded.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from mien_engines.cache import cache_dir, make_private_dir, write_atomic
from mien_engines.errors import Busy, InputError, NotBuilt, Untrusted
from mien_engines.plan_file import PlanHeader, PlanKey, packed, read_header, unpacked
from mien_engines.plan_upkeep import KERNELS_SUFFIX, clear_stale, sweep, trim

LIMIT_GB = 16.0  # of all plans together, in 1e9 bytes; MIEN_PLANS_GB sets another
WAIT_S = 1800.0

logger = logging.getLogger("mien")

# Plans that could not be written. They are this process's own, and last as long as it does.
_unwritten: dict[Path, tuple[PlanHeader, bytes]] = {}


class PlanCache:
    """The plans of this user on this machine.

    Args:
        root: where they lie; None means the folder `plans` of mien's cache.
        limit_bytes: of all together; those that were used least recently go first. None means
            MIEN_PLANS_GB, else LIMIT_GB.

    Raises InputError where MIEN_PLANS_GB is no size.
    """

    def __init__(self, root: Path | None = None, limit_bytes: int | None = None) -> None:
        self.root = root or cache_dir() / "plans"
        self.limit_bytes = _limit() if limit_bytes is None else limit_bytes

    def path(self, key: PlanKey) -> Path:
        return self.root / key.folder / f"{key.name}.plan"

    def store(self, header: PlanHeader, plan: bytes) -> bool:
        """Keep a plan. Returns False, after one log line, where it cannot be written: then it lasts
        as long as this process."""
        path = self.path(header.key)
        with contextlib.suppress(OSError):  # what was compiled of the plan that was there
            path.with_suffix(KERNELS_SUFFIX).unlink()
        if not write_atomic(path, packed(header, plan)):
            _unwritten[path] = header, plan
            return False
        _unwritten.pop(path, None)
        self.trim(kept=path)
        return True

    def paths(self, pattern: str = "*") -> list[Path]:
        """The plans whose names are so. They need not be usable here."""
        written = [path for path in self.root.glob(f"*/{pattern}.plan") if path not in _unwritten]
        unwritten = [path for path in _unwritten if path.is_relative_to(self.root)]
        return written + [path for path in unwritten if path.match(f"{pattern}.plan")]

    def header(self, path: Path) -> PlanHeader:
        """What a plan was made of. Raises Untrusted where it is damaged."""
        return _unwritten[path][0] if path in _unwritten else read_header(path)

    def find(self, wanted: Mapping[str, Any]) -> Path:
        """The accepted plan whose key has these fields; of several, such as of other sizes, the one
        that was built or asked for last.

        Raises NotBuilt, which says what is different about the nearest one.
        """
        folder = self.root / f"{wanted['graph']}-{wanted['digest'][:16]}"
        named = self.paths(f"{wanted['library']}-{wanted['precision']}-*")
        paths = [path for path in named if path.parent == folder]
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
                header = self.header(path)
            except Untrusted as error:
                near.append([error.message])
                continue
            differing = header.key.differences(wanted)
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
        if path in _unwritten:
            return _unwritten[path]
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
        removed: list[Path] = []
        with _upkeep(self.root):
            removed += trim(self.root, self.limit_bytes, kept)
        return removed

    def tidy(self, machine: Mapping[str, Any]) -> list[Path]:
        """Remove what this GPU has no more use for, and what killed builders have left."""
        removed: list[Path] = []
        with _upkeep(self.root):
            removed += clear_stale(self.root, machine)
            sweep(self.root)
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


@contextlib.contextmanager
def _upkeep(root: Path) -> Iterator[None]:
    """A folder that cannot be tidied, or that goes meanwhile, fails no build: plans stay good."""
    try:
        yield
    except OSError as error:
        logger.warning("the plans in %s are not tidied: %s", root, error)


def _written(path: Path) -> float:
    """When a plan was written or used last; a time in the future counts for none, so that a plan
    from before a clock was set back does not hide those that are built now."""
    if path in _unwritten:
        return time.time()
    written = path.stat().st_mtime
    return written if written <= time.time() else 0.0


def _typed(precision: str) -> str:
    """A precision as the command line has it."""
    return "fp32" if precision == "f32" else precision


def _limit() -> int:
    asked = os.environ.get("MIEN_PLANS_GB") or str(LIMIT_GB)
    try:
        size = float(asked)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise InputError(
            f"MIEN_PLANS_GB is {asked!r}, expected gigabytes, 0 and more",
            hint=f"Such as {LIMIT_GB:g}, or leave it out",
        )
    return int(size * 1e9)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return "unknown"
