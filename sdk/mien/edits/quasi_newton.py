"""Running a gradient engine under L-BFGS: what `descend` is to steps that are whole in a graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mien.edits.lbfgs import Lbfgs
from mien.edits.loop import Array, Callback, Ending, Outcome, RunState, Step
from mien_engines import Engine

F32 = NDArray[np.float32]


def descend_quasi_newton(
    engine: Engine,
    graph: str,
    image: F32,  # [1, 3, H, W] in [-1, 1]
    constants: Mapping[str, Array],
    *,
    steps: int,
    history: int = 100,
    every: int = 10,
    callback: Callback | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Evaluate graph's gradient `steps` times, or until something ends the run before.

    As system 2 has it: the image is searched for in [0, 1], where the length of the first move is
    1, and clamped before each evaluation; what a move loses by that, L-BFGS is not told.

    Args:
        constants: the graph's inputs besides the image.
        every: evaluations between two records. The others are as those of `descend`.

    Raises NotFinite: the loss is no longer a number, as it may be without a line search.
    """
    lbfgs = Lbfgs(history)
    state, done, began = RunState({}, {}), 0, time.perf_counter()
    x = (image + 1) * np.float32(0.5)

    def passed() -> float:
        return time.perf_counter() - began

    def ending() -> Ending | None:
        if done >= steps:
            return "steps"
        if stop is not None and stop.is_set():
            return "stop"
        return "seconds" if seconds is not None and passed() >= seconds else None

    while True:
        x = x.clip(0, 1).astype(np.float32)
        shown = x * np.float32(2) - 1
        found = engine.run(graph, image=shown, **constants)
        loss, terms = found["loss"], found["terms"]
        state.offer({"code": shown, "loss": loss, "terms": terms})
        ended = ending()
        if ended is not None or done % every == 0:
            state.losses.append(float(loss.mean()))
        if ended is not None:
            break
        if callback is not None and done % every == 0:
            callback(Step(done, steps, loss, terms, passed(), shown, {}))
        x = x + lbfgs.move(found["gradient"] * np.float32(2))
        done += 1
    best = state.best
    return Outcome(
        best["code"], best["loss"], best["terms"], {}, done, ended, state.losses, passed()
    )
