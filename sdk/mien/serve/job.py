"""A job: what it is of, how far it is, and what became of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.edits.loop import Step
from mien.images import Picture
from mien.serve.errors import Problem
from mien.serve.store import Face

State = Literal["waiting", "running", "done", "cancelled", "failed"]
Verb = Literal["project", "swap"]
ENDED: tuple[State, ...] = ("done", "cancelled", "failed")


@dataclass(eq=False)
class Job:
    """Work that takes seconds or minutes. Its runner writes it, others read it.

    faces: by their part in it. settings: as they were asked for.
    keep: whether it goes on when nobody watches.
    step, steps, loss: of the search. seconds: it has run, those before a restart too.
    ended: by what a search ended: "steps", "stop", or "seconds", the service's limit.
    result: what it found, for a client. codes, shown: of the latest record, to draw it.
    picture: the result's.
    """

    id: str
    verb: Verb
    faces: dict[str, Face]
    settings: dict[str, Any]
    keep: bool = True
    created: float = field(default_factory=time.time)
    state: State = "waiting"
    step: int = 0
    steps: int = 0
    loss: float | None = None
    seconds: float = 0.0
    ended: str | None = None
    error: Problem | None = None
    result: dict[str, Any] = field(default_factory=dict)
    codes: NDArray[np.float32] | None = None
    shown: NDArray[np.uint8] | None = None
    picture: Picture | None = None
    records: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    watchers: set[asyncio.Event] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def key(self) -> tuple[object, ...]:
        """What two jobs have in common that would find the same."""
        names = tuple((role, face.id) for role, face in sorted(self.faces.items()))
        return self.verb, names, tuple(sorted(self.settings.items()))

    def note(self, step: Step) -> None:
        """Take over a record of the search."""
        self.step, self.steps = step.step, step.steps
        self.loss = float(step.loss.mean())
        self.codes = step.codes
        shown: Mapping[str, Any] = step.shown
        self.shown = shown["picture"][0] if "picture" in shown else None
        self.records += 1

    def record(self) -> dict[str, Any]:
        """Return what is kept on disk of it, besides arrays."""
        return {
            "id": self.id,
            "verb": self.verb,
            "faces": {role: face.id for role, face in self.faces.items()},
            "settings": self.settings,
            "keep": self.keep,
            "created": self.created,
            "state": self.state,
            "step": self.step,
            "steps": self.steps,
            "loss": self.loss,
            "seconds": self.seconds,
            "ended": self.ended,
            "error": None if self.error is None else self.error.model_dump(),
            "result": self.result,
        }
