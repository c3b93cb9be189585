"""One service: a studio, what clients sent, the lines of work, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from pathlib import Path

import numpy as np

from mien.errors import MienError
from mien.serve.drawing import Drawer
from mien.serve.folder import JobFolder
from mien.serve.jobs import Jobs
from mien.serve.limits import Limits
from mien.serve.line import Line
from mien.serve.live import Live
from mien.serve.metrics import Metrics
from mien.serve.store import Store
from mien.studio import Studio

log = logging.getLogger("mien.serve")


class Service:
    """What the addresses are answered with. The studio stays its owner's.

    folder: where jobs are kept; one service has it at a time.
    """

    def __init__(self, studio: Studio, folder: Path, limits: Limits) -> None:
        self.studio, self.limits = studio, limits
        self.metrics = Metrics()
        self.store = Store(limits.faces, limits.styles, limits.photo_bytes)
        self.drawer = Drawer(studio, self.store, limits)
        self.line = Line(limits, self.metrics)
        self.jobs = Jobs(studio, self.store, JobFolder(folder), limits, self.metrics)
        self.live = Live(studio, self.drawer, limits, self.metrics)
        self.ready = threading.Event()
        self._warm = threading.Thread(target=self._open, name="mien opening", daemon=True)
        watch = self.metrics.watch
        watch("mien_line_length", "Quick requests that wait or run", lambda: self.line.length)
        watch("mien_jobs_waiting", "Jobs in the line", lambda: self.jobs.waiting)
        watch("mien_faces", "Faces that are kept", lambda: len(self.store.faces))
        watch("mien_live_sessions", "Live sessions", lambda: self.live.sessions)
        watch("mien_ready", "Whether the first networks are open", lambda: self.ready.is_set())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work; networks are opened meanwhile."""
        self.jobs.start(loop)
        self._warm.start()

    def close(self) -> None:
        """Stop. What runs is saved and goes on at the next start."""
        self.jobs.close()
        self.line.close()
        self.live.close()
        self._warm.join()

    def _open(self) -> None:
        """Draw something with the networks that a person meets first: opening takes a moment, and
        choosing backends, once a machine, more than one."""
        studio = self.studio
        try:
            picture = studio.render(studio.sample(0))
            with contextlib.suppress(MienError):  # no face in it, no encoder: as it may be
                studio.invert(picture)
                studio.align_all(np.asarray(picture))
            studio.engine.session("project_step")
        except MienError as error:
            log.warning("the first networks did not open: %s", error)
        self.ready.set()
