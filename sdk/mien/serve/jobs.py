"""The queue of long work: one runner, a bounded line before it, and all of it on disk.

A job goes on when its sender has gone, and, stopped by a restart or by kill -9, from its latest
record when the service is back, to the bits of an unbroken run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.edits.loop import Step
from mien.errors import MienError, RunError
from mien.serve.errors import Busy, Conflict, Deadline, NotFound, Problem
from mien.serve.folder import JobFolder
from mien.serve.job import Job, Verb
from mien.serve.limits import Limits
from mien.serve.metrics import Metrics
from mien.serve.searches import search
from mien.serve.store import Face, Store, new_id
from mien.studio import Studio

log = logging.getLogger("mien.serve")

F32 = NDArray[np.float32]
TIDY_S = 600.0  # between two looks whether something is too old to be kept


class Jobs:
    """Runs jobs one after another. Any thread may ask."""

    def __init__(
        self, studio: Studio, store: Store, folder: JobFolder, limits: Limits, metrics: Metrics
    ) -> None:
        self._studio, self._store, self._folder = studio, store, folder
        self._limits, self._metrics = limits, metrics
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._line: deque[Job] = deque()
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="mien jobs", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up the jobs of the last service, and begin. loop: that watchers wait in."""
        self._loop = loop
        for job, ws in self._folder.load():
            job.faces = {role: self._known(face) for role, face in job.faces.items()}
            self._jobs[job.id] = job
            if ws is not None:
                self._give(job, ws)
            if not job.is_over:
                job.state = "waiting"
                self._line.append(job)
        self._tidy()
        self._thread.start()

    def close(self) -> None:
        """Stop; what runs is saved, and goes on at the next start."""
        with self._changed:
            self._closing = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._folder.close()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def submit(
        self, verb: Verb, faces: dict[str, Face], settings: dict[str, Any], *, keep: bool
    ) -> tuple[Job, bool]:
        """Add a job; return it, and whether it is new: a second of the same kind is the first.

        Raises Busy where the line is full.
        """
        job = Job(new_id(), verb, faces, settings, keep)
        with self._changed:
            for other in self._jobs.values():
                if not other.is_over and other.key == job.key:
                    return other, False
            self._admit()
            self._folder.create(job)
            self._jobs[job.id] = job
            self._line.append(job)
            self._tidy()
            self._changed.notify_all()
        self._leave_later(job)
        return job, True

    def __getitem__(self, name: str) -> Job:
        """Return a job. Raises NotFound."""
        with self._changed:
            if name not in self._jobs:
                raise NotFound(f"there is no job {name!r}", hint="Jobs are kept for a day")
            return self._jobs[name]

    def __iter__(self) -> Any:
        with self._changed:
            return iter(list(self._jobs.values()))

    def place_of(self, job: Job) -> int:
        """Return how many are before a job in the line."""
        with self._changed:
            return self._line.index(job) if job in self._line else 0

    def cancel(self, name: str) -> Job:
        """End a job; what it found so far is kept, and it can go on. Raises NotFound."""
        job = self[name]
        with self._changed:
            if not job.is_over:
                job.cancelled = True
                job.stop.set()
            if job in self._line:
                self._line.remove(job)
                self._end(job, "cancelled")
        return job

    def resume(self, name: str) -> Job:
        """Let a job go on that was cancelled, or failed. Raises NotFound, Conflict, Busy."""
        job = self[name]
        with self._changed:
            if job.state not in ("cancelled", "failed"):
                raise Conflict(
                    f"the job is {job.state}", hint="Those that were cancelled or failed go on"
                )
            self._admit()
            job.state, job.cancelled, job.error, job.ended = "waiting", False, None, None
            job.stop.clear()
            self._line.append(job)
            self._folder.write(job)
            self._changed.notify_all()
        self._tell(job)
        return job

    def remove(self, name: str) -> None:
        """End a job and delete all that is kept of it. Raises NotFound."""
        job = self.cancel(name)
        with self._changed:
            self._jobs.pop(name, None)
            if job.is_over:
                self._folder.remove(job)

    async def watch(self, job: Job) -> AsyncIterator[None]:
        """Yield at once, and at each change until the job is over; changes between two looks are
        one. A job that is not to be kept ends when its last watcher has been gone for a while."""
        changed = asyncio.Event()
        job.watchers.add(changed)
        try:
            while True:
                changed.clear()
                over = job.is_over
                yield
                if over:
                    return
                await changed.wait()
        finally:
            job.watchers.discard(changed)
            self._leave_later(job)

    def _admit(self) -> None:
        if self._closing or len(self._line) >= self._limits.queue:
            raise Busy(
                f"{len(self._line)} jobs wait already", hint="Try again when one of them has ended"
            )

    def _known(self, face: Face) -> Face:
        """The face of that name that is here already, or this one."""
        known = self._store.faces.get(face.id)
        if known is None:
            self._store.faces.add(face.id, face)
            return face
        if known.code is None:
            known.code = face.code
        return known

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._line and not self._closing:
                    self._changed.wait(TIDY_S)
                    self._tidy()
                if self._closing:
                    return
                job = self._line.popleft()
                job.state = "running"
                self._folder.write(job)
            self._tell(job)
            self._run(job)

    def _run(self, job: Job) -> None:
        began, before = time.monotonic(), job.seconds
        late = threading.Event()

        def note(step: Step) -> None:
            job.note(step)
            job.seconds = before + time.monotonic() - began
            self._tell(job)

        def end() -> None:
            late.set()
            job.stop.set()

        timer = threading.Timer(self._limits.job_s, end)
        timer.daemon = True
        timer.start()
        try:
            ws = search(self._studio, job, self._folder.place(job), note)
            job.seconds = before + time.monotonic() - began
            self._finish(job, ws, late=late.is_set())
        except MienError as error:
            self._fail(job, error)
        except Exception:  # one job's fault must not end the runner
            log.exception("job %s failed", job.id)
            self._fail(job, RunError("the job failed", hint=f"The service's log has job {job.id}"))
        finally:
            timer.cancel()

    def _finish(self, job: Job, ws: F32 | None, *, late: bool) -> None:
        with self._changed:
            if self._closing and not job.cancelled and (ws is None or job.ended == "stop"):
                job.state = "waiting"  # it goes on at the next start
                self._folder.write(job)
                return
            if ws is not None:
                self._folder.write_result(job, ws)
                self._give(job, ws)
            if job.cancelled:
                self._end(job, "cancelled")
            elif ws is None:
                seconds = f"{self._limits.job_s:.0f} s"
                self._fail(job, Deadline(f"the job had found nothing after {seconds}"))
            else:
                job.ended = "seconds" if late and job.ended == "stop" else job.ended
                self._end(job, "done")

    def _give(self, job: Job, ws: F32) -> None:
        """Let a result be worked with: the projected face has a code, a swapped one is new."""
        if job.verb == "project":
            job.faces["face"].code, job.faces["face"].how = ws, ("project",)
            return
        assert job.picture is not None
        name, crop = job.result["face"], job.picture.array
        target = job.faces["attributes"]
        face = Face(name, crop, crop, target.aligned, target.photo, ws, ("swap",))
        self._store.faces.add(name, face)

    def _fail(self, job: Job, error: MienError) -> None:
        job.error = Problem.of(error)
        self._end(job, "failed")

    def _end(self, job: Job, state: Any) -> None:
        with self._changed:
            job.state = state
            if job.id in self._jobs:
                self._folder.write(job)
            else:  # it was removed while it ran
                self._folder.remove(job)
        self._metrics.jobs.labels(job.verb, state).observe(job.seconds)
        self._tell(job)

    def _tidy(self) -> None:
        """Forget ended jobs that are too many, or too old."""
        over = [job for job in self._jobs.values() if job.is_over]
        old = [job for job in over if time.time() - job.created > self._limits.keep_s]
        spare = over[: max(0, len(over) - self._limits.jobs)]
        for job in dict.fromkeys([*old, *spare]):
            del self._jobs[job.id]
            self._folder.remove(job)

    def _tell(self, job: Job) -> None:
        """Wake the watchers, who live in the loop's thread."""

        def wake() -> None:
            for watcher in job.watchers:
                watcher.set()

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches
                self._loop.call_soon_threadsafe(wake)

    def _leave_later(self, job: Job) -> None:
        """End a job that is not to be kept if nobody comes to watch it."""

        def look() -> None:
            if not job.watchers and not job.is_over:
                with contextlib.suppress(NotFound):
                    self.cancel(job.id)

        def later() -> None:
            if self._loop is not None and not job.watchers:
                self._loop.call_later(self._limits.abandoned_s, look)

        if not job.keep and not job.is_over and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(later)
