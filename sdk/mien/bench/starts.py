"""From nothing to the first result: fresh processes, with mien's cache empty and with it filled."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mien.bench.report import Start, on_gpu
from mien.errors import RunError, Untrusted
from mien_engines.cache import make_private_dir
from mien_engines.plans import PlanCache
from mien_engines.trt_library import LibraryName

SCRIPT = (
    "import sys, time; began = time.perf_counter(); import mien; imported = time.perf_counter(); "
    "from mien.bench.child import main; main(sys.argv[1], began, imported)"
)
TIMEOUT_S = 600
RECORDED = (
    "import_s",
    "load_s",
    "call_s",
    "total_s",
    "again_ms",
    "imported_mb",
    "resident_mb",
    "peak_mb",
    "device_mb",
)


def starts(
    work: str,
    who: str,
    *,
    count: int,
    bundle: str | Path | None,
    graph: str | None = None,
    verb: str | None = None,
    feeds: Mapping[str, NDArray[Any]] | None = None,
    threads: int | None = None,
    side: int = 256,
) -> list[Start]:
    """Start `count` processes with an empty cache, and as many with what the first left there.

    who: the backend. graph with its feeds, or verb: what is run. Plans of TensorRT are built
    beforehand, so that an empty cache has the user's, too.

    Raises RunError where a process fails (a backend that the gate refuses, for one), takes longer
    than TIMEOUT_S, or prints no record, and where there is no room for the plans.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as name:
        folder = Path(name)
        if feeds is not None:
            np.savez(folder / "feeds.npz", **dict(feeds))  # type: ignore[arg-type]
        task = {
            "bundle": None if bundle is None else str(bundle),
            "graph": graph,
            "verb": verb,
            "backend": who,
            "threads": threads,
            "side": side,
            "device": on_gpu(who),
            "feeds": str(folder / "feeds.npz"),
        }
        caches = [folder / f"cache-{i}" for i in range(count)]
        for empty in caches:
            _lend_plans(who, empty)
        cold = [_run(task, cache) for cache in caches]
        warm = [_run(task, caches[0]) for _ in range(count)]
    for cache, runs in (("cold", cold), ("warm", warm)):
        record = {key: _median([run[key] for run in runs]) for key in RECORDED}
        found.append(Start(work=work, who=who, cache=cache, count=count, **record))  # type: ignore[arg-type]
    return found


def _lend_plans(who: str, cache: Path) -> None:
    """Put the plans that a backend may run into a cache, as files: a link to a folder is refused.

    What TensorRT-RTX compiled of them when they first ran is not lent.
    """
    library = who.partition("-")[0]
    if library not in get_args(LibraryName):
        return
    mine = PlanCache()
    for path in mine.paths(f"{library}-*"):
        place = cache / "plans" / path.relative_to(mine.root)
        with contextlib.suppress(Untrusted):  # nor would it be loaded where it lies
            mine.check_owner(path)
            try:
                make_private_dir(place.parent)
                _link(path, place)
            except OSError as error:
                raise RunError(
                    f"the plan {path.name} cannot be lent to a fresh process: {error.strerror}",
                    hint="Leave it out: --starts 0",
                ) from error


def _link(path: Path, place: Path) -> None:
    """Give a file a second name, or on another disk a copy."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copy2(path, place)


def _run(task: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(task)],
            env=os.environ | {"MIEN_CACHE_DIR": str(cache)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"a fresh process with {task['backend']} took more than {TIMEOUT_S:g} s",
            hint="Leave it out: --starts 0",
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        # A traceback ends in the error's class and its message.
        message = said.partition(": ")[2] if "Error" in said or "Failed" in said else said
        raise RunError(f"a fresh process with {task['backend']} failed: {message or said}")
    # The last line: a runtime may print before it, such as that it loads a driver.
    lines = done.stdout.strip().splitlines()
    try:
        record: dict[str, Any] = json.loads(lines[-1] if lines else "")
    except ValueError as error:
        raise RunError(
            f"a fresh process with {task['backend']} printed no record: {lines[-1:]}"
        ) from error
    return record | {"total_s": record["ended"] - began}


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 4) if known else None
