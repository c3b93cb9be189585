"""What a fresh process does for `mien.bench.starts`: open, take two results, say what it cost.

Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def main(argument: str, began: float, imported: float) -> None:
    """Do a task, which is JSON, and print a record, JSON too, as the last line.

    began, imported: before and after `import mien`.
    """
    from mien.bench.memory import device_mb, peak_mb, resident_mb  # loads nothing else

    early = resident_mb()
    task = json.loads(argument)
    started = time.perf_counter()
    call, close = _verb(task) if task["verb"] else _graph(task)
    loaded = time.perf_counter()
    call()
    first = time.perf_counter()
    call()
    again = time.perf_counter()
    record = {
        "import_s": imported - began,
        "load_s": loaded - started,
        "call_s": first - loaded,
        "ended": first,
        "again_ms": 1e3 * (again - first),
        "imported_mb": early,
        "resident_mb": resident_mb(),
        "peak_mb": peak_mb(),
        "device_mb": device_mb() if task["device"] else None,
    }
    close()
    print(f"\n{json.dumps(record)}", flush=True)


def _graph(task: dict[str, Any]) -> tuple[Call, Call]:
    """A graph, opened as a studio does it: by the backend that was asked for, behind its gate."""
    import numpy as np

    import mien_engines

    engine = mien_engines.open(task["bundle"], task["backend"], threads=task["threads"])
    session = engine.session(task["graph"])
    with np.load(task["feeds"]) as arrays:
        feeds = dict(arrays)
    call = session.loop(feeds).step if session.spec.state else lambda: session.run(feeds)
    return call, engine.close


def _verb(task: dict[str, Any]) -> tuple[Call, Call]:
    from contextlib import ExitStack

    from mien.bench.verbs import prepared, studio_for

    stack = ExitStack()
    studio = studio_for(task["verb"], task["bundle"], task["backend"], task["threads"])
    stack.enter_context(studio)
    return stack.enter_context(prepared(task["verb"], studio, task["side"])), stack.close
