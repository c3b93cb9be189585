"""A service that runs in this process, on a socket, and a studio whose searches can be held."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from mien.edits.loop import Step
from mien.edits.project import Projection
from mien.edits.swap import Swap
from mien.errors import NotFinite
from mien.serve.application import app
from mien.serve.limits import Limits
from mien.serve.process import _listen, config
from mien.serve.service import Service
from mien.studio import Studio

PATIENCE_S = 120.0
ENDING_S = 30.0
API = "/api/v1"


class Held(Studio):
    """A studio whose projections take a step for each that is let through."""

    def __init__(self) -> None:
        super().__init__("demo", backend="ort")
        self.reset()

    def reset(self) -> None:
        """Let nothing through, and have nothing fail."""
        self.gate = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.fails = False

    def project(self, face: Any, settings: Any = None, **options: Any) -> Projection:  # type: ignore[override]
        code = np.zeros((self.num_ws, self.w_dim), np.float32)
        self.began.release()
        done, stop = 0, options["stop"]
        while done < settings.steps and not stop.is_set():
            if not self.gate.acquire(timeout=0.02):
                continue
            if self.fails:
                raise NotFinite("the loss is nan", hint="A smaller rate")
            done += 1
            one = np.ones(1, np.float32)
            options["callback"](Step(done, settings.steps, one, one[None], 0.0, code[None], {}))
        ended = "stop" if done < settings.steps else "steps"
        return Projection(code, 1.0, {}, done, ended, True, (1.0,), 0.0, "held")  # type: ignore[arg-type]


class Paced(Studio):
    """A studio whose searches, real ones, wait at a record until they may go on.

    Where a machine is fast a search is over before a browser's test has looked twice.
    """

    def __init__(self) -> None:
        super().__init__("demo", backend="ort")
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold what is searched within, at its next record of a step, to the end of the block."""
        self.may_go_on.clear()
        try:
            yield
        finally:
            self.may_go_on.set()

    def project(self, *faces: Any, **options: Any) -> Projection:
        return super().project(*faces, **self._paced(options))

    def swap(self, **options: Any) -> Swap:
        return super().swap(**self._paced(options))

    def _paced(self, options: dict[str, Any]) -> dict[str, Any]:
        def noted(step: Step) -> None:
            options["callback"](step)
            while step.step and not self.may_go_on.wait(0.02) and not options["stop"].is_set():
                pass

        return options | {"callback": noted}


@dataclass
class Running:
    """A service: its port, its inside, its folder of jobs, and a client of it."""

    port: int
    folder: Path
    service: Service
    client: httpx.Client

    def photo(self, path: Path) -> str:
        """Send a photograph and return the name of its face."""
        kind = {"Content-Type": "image/jpeg"}
        sent = self.client.post(f"{API}/photos", content=path.read_bytes(), headers=kind)
        assert sent.status_code == 201, sent.text
        name: str = sent.json()["faces"][0]["id"]
        return name

    def nobody(self, seed: int = 1) -> str:
        """Make a face that does not exist and return its name."""
        made = self.client.post(f"{API}/samples", json={"seed": seed})
        assert made.status_code == 201, made.text
        name: str = made.json()["id"]
        return name

    def ended(self, job: str) -> dict[str, Any]:
        """Wait until a job is over and return it."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            record: dict[str, Any] = self.client.get(f"{API}/jobs/{job}").json()
            if record["state"] in ("done", "cancelled", "failed"):
                return record
            time.sleep(0.02)
        raise AssertionError(f"job {job} did not end: {record}")


@contextmanager
def running(
    studio: Studio, folder: Path, *, token: str | None = None, limits: Limits | None = None
) -> Iterator[Running]:
    """Run a service of a studio on a free port of this machine."""
    bound = limits or Limits()
    served = app(studio, folder=folder, token=token, limits=bound)
    listening = _listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = uvicorn.Server(config(served, bound, "critical"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    base = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=base, timeout=PATIENCE_S) as client:
            yield Running(port, folder, served.state.service, client)
    finally:
        server.should_exit = True
        thread.join(ENDING_S)
        if thread.is_alive():  # where it hangs is the only trace of it
            faulthandler.dump_traceback(sys.__stderr__)
        listening.close()
