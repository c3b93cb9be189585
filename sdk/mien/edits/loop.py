"""Running a step engine: schedule, callback, stop, save, resume.

The engine maps state to state; the loop owns the rest. State stays with the backend: it is read
only when a record is due, when the run is saved, and at the end. Between two records a backend on a
device takes several steps at a visit, with the schedule's values of all of them; the results are
those of single steps.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mien.errors import CorruptFile, InputError
from mien.whole_files import replacing
from mien_engines import Engine

Array = NDArray[Any]
Ending = Literal["steps", "until", "seconds", "stop"]
STATE_VERSION = 2


@dataclass(frozen=True)
class Step:
    """What a callback is told.

    step: how many were done, of `steps`, when the loss was taken.
    loss: of each sample, [N]. terms: of each sample, [N, T], in the order of the settings' terms.
    seconds: since the run began.
    codes: of each sample, as the graph has them. shown: outputs that the course asks for.
    """

    step: int
    steps: int
    loss: NDArray[np.float32]
    terms: NDArray[np.float32]
    seconds: float
    codes: NDArray[np.float32]
    shown: Mapping[str, Array]


Callback = Callable[[Step], object]


@dataclass(frozen=True)
class Course:
    """How a run goes on from step to step, and what it is for.

    inputs: the graph's inputs that change, by the number of the step; those of the last step and
        beyond leave the code as it is, undisturbed.
    code: the state that is searched for. shown: outputs that are kept beside the best code.
    settled: the first step whose loss is of the code itself; before it noise lies on the code, and
        no code is taken for the best.
    """

    inputs: Callable[[int], Mapping[str, Array]] = lambda step: {}
    code: str = "ws"
    shown: tuple[str, ...] = ()
    settled: int = 0


PLAIN = Course()  # all inputs stay, W+ codes are searched for


@dataclass
class RunState:
    """Where a run stands: all that is needed to go on to the same bits.

    arrays: the state inputs of the graph, by name; "t" [1] counts the steps taken.
    identity: what the run is of (bundle, target, settings, backend); resuming compares it.
    best: "code", "loss", "terms" and what is shown, of the least loss of each sample so far; empty
        before the first.
    losses: the batch's mean loss at each record.
    """

    arrays: dict[str, Array]
    identity: dict[str, str]
    best: dict[str, Array] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        return int(self.arrays["t"][0])

    def offer(self, found: Mapping[str, Array]) -> None:
        """Keep what is better, sample by sample, than the best so far."""
        if not self.best:
            self.best = {name: array.copy() for name, array in found.items()}
        better = found["loss"] < self.best["loss"]
        for name, array in found.items():
            self.best[name][better] = array[better]

    def save(self, path: Path) -> None:
        """Write to path; what stood there before stays until the new file is whole."""
        header = {
            "version": STATE_VERSION,
            "identity": self.identity,
            "losses": self.losses,
        }
        encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
        best = {f"best.{name}": array for name, array in self.best.items()}
        try:
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **{"header": encoded, **self.arrays, **best})
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> RunState:
        """Read what `save` wrote. Raises CorruptFile."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            header = json.loads(arrays.pop("header").tobytes())
            if header["version"] != STATE_VERSION:
                raise ValueError(f"version {header['version']}")
            best = {n.removeprefix("best."): arrays.pop(n) for n in list(arrays) if "." in n}
            return cls(arrays, header["identity"], best, header["losses"])
        except (OSError, ValueError, EOFError, KeyError, TypeError, BadZipFile) as error:
            raise CorruptFile(
                f"{path} is not a saved run: {error}", hint="Delete it to start anew"
            ) from error

    def check(self, identity: Mapping[str, str]) -> None:
        """Raise InputError where this run is not the one that is asked for."""
        for key, wanted in identity.items():
            if (found := self.identity.get(key)) != wanted:
                raise InputError(
                    f"the saved run has another {key}: {found}, now {wanted}",
                    hint="Give the same inputs to resume, or delete the saved run to start anew",
                )


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    best: the code of the least loss of each sample [N, ...]; loss [N], terms [N, T] and what is
        shown are its own.
    losses: the batch's mean loss at each record. ended: what ended the run.
    """

    best: NDArray[np.float32]
    loss: NDArray[np.float32]
    terms: NDArray[np.float32]
    shown: dict[str, Array]
    steps: int
    ended: Ending
    losses: list[float]
    seconds: float

    @property
    def finished(self) -> bool:
        return self.ended == "steps"


def descend(
    engine: Engine,
    graph: str,
    start: RunState,
    constants: Mapping[str, Array],
    *,
    steps: int,
    course: Course = PLAIN,
    every: int = 10,
    callback: Callback | None = None,
    until: float | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    save: Path | None = None,
) -> Outcome:
    """Run a step graph until it has taken `steps` steps, or something ends it before.

    Args:
        start: the state to begin with, by name of the graph's inputs.
        constants: its other inputs. course: those that change, and what the run is for.
        every: steps between two records; each costs one read of the state.
        until: end at the first record at which no sample's loss is above this.
        seconds: end when so much time has passed. stop: end when it is set. Both are looked at
            before every step, on a device before every visit (16 steps at most).
        save: where the state is kept at each record, and when the run ends before its time.

    Raises:
        NotFinite: the loss is no longer a number; what was reached before is in `save`.
        KeyboardInterrupt: passed on, after saving.
    """
    state = RunState(dict(start.arrays), start.identity, dict(start.best), list(start.losses))
    done = state.step
    loop = engine.loop(graph, **state.arrays, **{**constants, **course.inputs(done)})
    began = time.perf_counter()

    def passed() -> float:
        return time.perf_counter() - began

    def fetch() -> None:
        current = loop.state()
        state.arrays = {name: current[name] for name in state.arrays}
        if save is not None:
            state.save(save)

    def advance(step: int, count: int = 1) -> None:
        inputs = [course.inputs(step + i) for i in range(count)]
        loop.advance(count, {name: np.stack([i[name] for i in inputs]) for name in inputs[0]})

    def unrecorded() -> int:
        """How many steps the backend takes at once: not beyond the next record, or the end."""
        return min(loop.stride, every - done % every, steps - done)

    def look(step: int) -> Step:
        """Save, then take one step whose loss is read: that of the codes it began with."""
        fetch()
        advance(step)
        loss, terms = loop.read("loss"), loop.read("terms")
        shown = {name: loop.read(name) for name in course.shown}
        codes = state.arrays[course.code]
        state.losses.append(float(loss.mean()))
        if step >= course.settled:
            state.offer({"code": codes, "loss": loss, "terms": terms, **shown})
        return Step(done, steps, loss, terms, passed(), codes, shown)

    def ending(reached: bool) -> Ending | None:
        if done >= steps:
            return "steps"
        if reached:
            return "until"
        if stop is not None and stop.is_set():
            return "stop"
        return "seconds" if seconds is not None and passed() >= seconds else None

    reached = False
    try:
        while (ended := ending(reached)) is None:
            if done % every:
                count = unrecorded()
                advance(done, count)
                done += count
                continue
            record = look(done)
            reached = until is not None and bool((record.loss <= until).all())
            if callback is not None:
                callback(record)
            done += 1
    except KeyboardInterrupt:
        fetch()
        raise
    look(max(done, steps))  # the loss of the last codes; those it would lead to are not used
    best = dict(state.best)
    code, loss, terms = (best.pop(name) for name in ("code", "loss", "terms"))
    return Outcome(code, loss, terms, best, done, ended, state.losses, passed())
