"""A run: its items become tasks, its tasks results, its results a report."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mien import errors
from mien.decode import shown
from mien.errors import Cancelled, InputError, MienError
from mien.scale.cluster import Cluster, on_ray, started
from mien.scale.items import Item, items_of
from mien.scale.local import in_processes
from mien.scale.plan import Plan, Result, Task, absolute, absolute_bundle, check_plan
from mien.scale.report import Failed, Report, Share
from mien.scale.store import Store
from mien.scale.verbs import verb_of
from mien.scale.worker import Worker

MOST_WORKERS = 100_000
REFERENCE = "ort"  # what opens wherever mien runs
Execute = Callable[[Sequence[Task]], Iterator[Result]]


@dataclass(frozen=True)
class Progress:
    """What a callback is told after each task: tasks done, of those known so far, and failures."""

    done: int
    of: int
    failed: int


def run(
    verb: str,
    source: str | Path,
    output: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int = 2,
    local: bool = False,
    cpus: float = 1.0,
    gpus: float = 0.0,
    address: str | None = None,
    bundles: Sequence[str | Path] = (),
    backend: str = "ort",
    detector: str | Path | None = None,
    aligned: bool = False,
    face: str | int = "only",
    suffix: str | None = None,
    film_suffix: str = ".mp4",
    side: int | None = None,
    sound: bool = True,
    on_failure: Literal["stop", "pass"] = "stop",
    piece: int = 480,
    mark: bool = True,
    callback: Callable[[Progress], object] | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Run a verb over a folder, a manifest (.csv, .jsonl) or films.

    Args:
        verb: of `mien.scale.VERBS`. options: its arguments that are the same for all items.
        source: a folder, a manifest with a row an item and a column an argument, or a file.
        output: a folder for results, by their addresses and by name, and for report.json.
        workers: that each hold a Studio. local: in processes of this machine; else on Ray.
        cpus, gpus: of each worker on Ray; cpus is also its Studio's threads. address: of a running
            Ray; None starts one here.
        bundles, backend, detector: of the Studio. The backend is named, since one that each
            machine chose for itself could draw each item with other bits.
        aligned: pictures are crops of faces. face: which of several faces: "only", "largest" or a
            number.
        suffix: of pictures, .png unasked. film_suffix, side, sound, on_failure, mark: of films, as
            in `mien.video.convert`; a film cannot be held or smoothed in pieces.
        piece: frames of a film that one worker draws at a time.
        callback: called after each task. stop: set this event to break off; what is done is kept.

    A second run over the same does only what is missing; an item that fails is reported, and the
    others go on.

    Raises:
        InputError: no such verb, option, source or suffix; another run works on the folder.
        MissingDependency: no Ray, no PyAV. Cancelled: it was stopped.
        What opening the Studio raises.
    """
    chosen, source, output = verb_of(verb), Path(source), Path(output)
    items = items_of(chosen, source)
    plan = Plan(
        verb=verb,
        options={name: absolute(chosen, name, value) for name, value in (options or {}).items()},
        output=str(output.resolve()),
        suffix=(suffix or chosen.suffix).lower(),
        film_suffix=film_suffix.lower(),
        bundles=tuple(absolute_bundle(name) for name in bundles),
        backend=backend,
        detector=None if detector is None else absolute_bundle(detector),
        threads=max(1, int(cpus)),
        aligned=aligned,
        face=face,
        mark=mark,
        sound=sound,
        side=side,
        on_failure=on_failure,
        piece=piece,
    )
    check_plan(plan, items)
    if not 1 <= workers <= MOST_WORKERS or cpus <= 0 or gpus < 0:
        raise InputError(
            f"{workers} workers with {cpus:g} cores and {gpus:g} GPUs each",
            hint="Expected 1 worker or more, with a part of a core at least",
        )
    cluster = Cluster(address, cpus, gpus)

    def execute(tasks: Sequence[Task]) -> Iterator[Result]:
        if local:
            return in_processes(plan, tasks, min(workers, len(tasks)))
        return on_ray(plan, tasks, min(workers, len(tasks)), cluster)

    with _alone(output) as store, contextlib.ExitStack() as stack:
        if not local:
            stack.enter_context(started(cluster, workers))
        beside = stack.enter_context(contextlib.closing(Worker(plan, REFERENCE)))
        course = _Course(store, execute, beside, callback, stop)
        try:
            course.go(items)
        finally:
            report = course.report(verb, "processes" if local else "ray", len(items))
            _write(output / "report.json", json.dumps(report.record(), indent=1))
            _write(output / "index.jsonl", course.index())
    return report


class _Course:
    """The way of the items through a run."""

    def __init__(
        self,
        store: Store,
        execute: Execute,
        beside: Worker,
        callback: Callable[[Progress], object] | None,
        stop: threading.Event | None,
    ) -> None:
        self._store, self._execute, self._beside = store, execute, beside
        self._callback, self._stop = callback, stop
        self._began = time.perf_counter()
        self._ended: dict[str, Result] = {}  # by the item's name
        self._failed: dict[str, Failed] = {}
        self._workers: dict[str, Share] = {}
        self._latencies: list[float] = []
        self._frames = self._passed = self._done = self._of = 0

    def go(self, items: Sequence[Item]) -> None:
        """Look at films; draw pictures and the pieces of films; join these.

        Looking and joining draw nothing, and are done here.
        """
        surveys = [Task("survey", item) for item in items if item.film]
        films = [r for r in self._through(surveys, self._here) if r.status == "done"]
        first = {film.address: film for film in reversed(films)}  # of several alike one is drawn
        draws = [Task("draw", item) for item in items if not item.film]
        shots = [
            Task("shoot", film.task.item, film.pieces, number, address)
            for address, film in first.items()
            for number in range(max(1, len(film.pieces)))
        ]
        for _ in self._through([*draws, *shots], self._execute):
            pass
        joins = []
        for film in films:
            failed = self._failed.get(first[film.address].task.item.name)
            if failed is None:
                joins.append(Task("join", film.task.item, film.pieces, 0, film.address))
            else:
                name = film.task.item.name
                self._failed[name] = replace(failed, name=name)
        for _ in self._through(joins, self._here):
            pass

    def _here(self, tasks: Sequence[Task]) -> Iterator[Result]:
        yield from map(self._beside, tasks)

    def report(self, verb: str, executor: str, items: int) -> Report:
        status = [result.status for result in self._ended.values()]
        return Report(
            verb, executor, items, status.count("done"), status.count("kept"),
            tuple(sorted(self._failed.values(), key=lambda failed: failed.name)),
            time.perf_counter() - self._began, self._frames, self._passed, tuple(self._latencies),
            self._workers,
        )  # fmt: skip

    def index(self) -> str:
        """Return a line an item that there is: its name, its address, its file."""
        rows = [
            {
                "name": name,
                "address": result.address,
                "file": self._store.place(result.address, result.suffix)
                .relative_to(self._store.folder)
                .as_posix(),
                **{k: v for k, v in result.task.item.arguments.items() if isinstance(v, str)},
            }
            for name, result in sorted(self._ended.items())
        ]
        return "".join(f"{json.dumps(row)}\n" for row in rows)

    def _through(self, tasks: Sequence[Task], execute: Execute) -> Iterator[Result]:
        """The results of tasks, each noted; nothing is asked of the executor for no tasks."""
        self._of += len(tasks)
        if not tasks:
            return
        with contextlib.closing(execute(tasks)) as results:  # type: ignore[type-var]
            for result in results:
                self._note(result)
                yield result
                if self._callback is not None:
                    self._callback(Progress(self._done, self._of, len(self._failed)))
                if self._stop is not None and self._stop.is_set():
                    raise Cancelled(
                        f"stopped after {self._done} of {self._of} tasks",
                        hint="The same command goes on from there",
                    )

    def _note(self, result: Result) -> None:
        if result.status == "hopeless":
            kind = getattr(errors, result.error, MienError)
            raise kind(result.message)
        self._done += 1
        share = self._workers.setdefault(result.worker, Share())
        share.tasks += 1
        share.busy += result.seconds
        share.opening += result.opening
        self._frames += result.frames
        self._passed += result.passed
        name, kind = result.task.item.name, result.task.kind
        if result.status == "failed":
            self._failed.setdefault(name, Failed(name, result.error, result.message))
            return
        if result.status == "done" and kind in ("draw", "shoot"):
            self._latencies.append(result.seconds)
        if kind in ("draw", "join") or result.status == "kept":
            self._ended[name] = result


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[Store]:
    """The folder of a run, which no other run works on meanwhile.

    Raises InputError.
    """
    lock = FileLock(output / ".lock")
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"another run works on {shown(output)}", hint="Wait for it, or name another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"{shown(output)} cannot be written: {error.strerror or error}",
            hint="Check the folder and the free space",
        ) from error
    try:
        store = Store(output.resolve())
        store.sweep()
        try:
            yield store
        finally:
            store.sweep()
    finally:
        lock.release()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, "utf-8")
    partial.replace(path)
