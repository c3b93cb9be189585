"""Running a step engine: schedule, callback, stop, save, resume.

The engine maps state to state; the loop owns the rest. State stays with the backend: it is read
only when a record is due, when the run is saved, and at the end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mien.errors import CorruptFile, InputError
from mien_engines import Engine

Array = NDArray[Any]
STATE_VERSION = 1


@dataclass(frozen=True)
class Step:
    """What a callback is told.

    step: how many were done, of `steps`, when the loss was taken.
    loss: of each sample, [N]. terms: of each sample, [N, T], in the order of `term_names`.
    seconds: since the run began.
    """

    step: int
    steps: int
    loss: NDArray[np.float32]
    terms: NDArray[np.float32]
    seconds: float


Callback = Callable[[Step], object]


@dataclass
class RunState:
    """Where a run stands: all that is needed to go on to the same bits.

    arrays: the state inputs of the graph, by name; "t" [1] counts the steps taken.
    identity: what the run is of (bundle, target, settings, backend); resuming compares it.
    best: code, loss and terms of the least loss of each sample so far; empty before the first.
    losses: the batch's mean loss at each record.
    """

    arrays: dict[str, Array]
    identity: dict[str, str]
    best: dict[str, Array] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        return int(self.arrays["t"][0])

    def offer(self, codes: Array, loss: Array, terms: Array) -> None:
        """Keep what is better, sample by sample, than the best so far; note the mean loss."""
        self.losses.append(float(loss.mean()))
        found = {"ws": codes, "loss": loss, "terms": terms}
        if not self.best:
            self.best = {name: array.copy() for name, array in found.items()}
        better = loss < self.best["loss"]
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
        partial = path.with_name(f".{path.name}.part")
        try:
            with partial.open("wb") as file:
                best = {f"best.{name}": array for name, array in self.best.items()}
                np.savez(file, allow_pickle=False, **{"header": encoded, **self.arrays, **best})
            partial.replace(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

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
    """How a run ended. best: the code of the least loss of each sample [N, L, D], loss [N]."""

    best: NDArray[np.float32]
    loss: NDArray[np.float32]
    terms: NDArray[np.float32]
    steps: int
    finished: bool
    losses: list[float]
    seconds: float


def descend(
    engine: Engine,
    graph: str,
    start: RunState,
    constants: Mapping[str, Array],
    *,
    steps: int,
    every: int = 10,
    callback: Callback | None = None,
    stop: threading.Event | None = None,
    save: Path | None = None,
) -> Outcome:
    """Run a step graph until it has taken `steps` steps, `stop` is set, or the user interrupts.

    Args:
        start: the state to begin with, by name of the graph's inputs.
        constants: its other inputs.
        every: steps between two records; each costs one read of the state.
        save: where the state is kept at each record, and when the run ends before its time.

    Raises:
        NotFinite: the loss is no longer a number; what was reached before is in `save`.
        KeyboardInterrupt: passed on, after saving.
    """
    state = RunState(dict(start.arrays), start.identity, dict(start.best), list(start.losses))
    loop = engine.loop(graph, **state.arrays, **constants)
    began = time.perf_counter()

    def fetch() -> None:
        current = loop.state()
        state.arrays = {name: current[name] for name in state.arrays}

    def keep() -> None:
        if save is not None:
            state.save(save)

    def look() -> None:
        """Save, then take one step whose loss is read: that of the codes it began with."""
        fetch()
        keep()
        loop.step()
        state.offer(state.arrays["ws"], loop.read("loss"), loop.read("terms"))

    done = state.step
    try:
        while done < steps and not (stop is not None and stop.is_set()):
            if done % every:
                loop.step()
            else:
                look()
                if callback is not None:
                    loss, terms = loop.read("loss"), loop.read("terms")
                    callback(Step(done, steps, loss, terms, time.perf_counter() - began))
            done += 1
    except KeyboardInterrupt:
        fetch()
        keep()
        raise
    look()  # for the loss of the last codes; the codes it would lead to are not used
    best = state.best
    seconds = time.perf_counter() - began
    return Outcome(
        best["ws"], best["loss"], best["terms"], done, done >= steps, state.losses, seconds
    )
