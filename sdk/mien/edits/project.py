"""Projection: the code whose picture is nearest to a target, found by gradient descent.

The step (synthesis, loss, gradient, optimiser) is one engine, run by the loop; here is where a
search begins, and what becomes of its end.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits.latents import as_code, save_code
from mien.edits.loop import Ending, Outcome, RunState, Step, descend
from mien.edits.settings import Settings, Start
from mien.edits.trace import Trace
from mien.errors import InputError
from mien.images import Picture
from mien_engines import Engine


@dataclass(frozen=True, eq=False)
class Projection:
    """A found code.

    ws: W+ code, float32 [L, D]; NumPy functions take the projection itself in its place.
    loss, terms: at this code; terms by name. The loss of the settings with noise maps is the
        perceptual term alone.
    steps: taken. ended: by what: all steps, the loss (until), the time (seconds), or stop.
    converged: whether the loss fell. losses: it (a batch's mean) every few steps.
    seconds: of the run. backend: who ran the steps, and at which precision.
    picture: as the search drew it, with the noise maps it found; None where it had none, and
        studio.render(code) draws the same.
    """

    ws: NDArray[np.float32]
    loss: float
    terms: dict[str, float]
    steps: int
    ended: Ending
    converged: bool
    losses: tuple[float, ...]
    seconds: float
    backend: str
    picture: Picture | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps were taken."""
        return self.ended == "steps"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.ws, dtype=dtype, copy=copy)

    def save(self, path: str | Path) -> Path:
        """Write the code as FILE.npy."""
        return save_code(self.ws, path)


def project(
    engine: Engine,
    pictures: NDArray[np.uint8],  # [N, H, W, 3]
    settings: Settings,
    *,
    start: ArrayLike | None = None,  # [N, L, D] or [L, D], instead of settings.start
    every: int = 10,
    callback: Callable[[Step], object] | None = None,
    until: float | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    save: Path | None = None,
    resume: bool = False,
    trace: Path | None = None,
) -> list[Projection]:
    """Project a batch of pictures at once; each sample's search is its own.

    Args:
        pictures: uint8 RGB at the generator's resolution.
        every: steps between two records.
        callback: called with each record.
        until: a loss: end at the first record at which no sample's is above it.
        seconds: end when so much time has passed. stop: set it to end the run early.
        save: where the run is kept, at each record and when it ends early.
        resume: go on from `save`, if it is there.
        trace: a GIF, WebP or MP4 of the target beside what is found, a frame a record.

    Raises:
        InputError: pictures of another size; or the saved run is of something else.
        NotFinite: the search diverged to infinity.
        MissingDependency: an MP4 needs PyAV.
    """
    check_limits(every, until, seconds)
    film = None if trace is None else Trace(trace, pictures)
    target = engine.run(settings.target, picture=pictures)
    identity = _identity(engine, pictures, settings, start)
    mean = np.asarray(engine.bundle.constants["w_mean"], np.float32)
    if resume and save is not None and save.exists():
        state = RunState.load(save)
        state.check(identity)
    else:
        codes = _first_codes(engine, pictures, settings.start, start)
        state = RunState(settings.state(codes, _noise_pixels(engine, settings.graph)), identity)

    def drawn(codes: NDArray[np.float32], shown: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Pictures [N, H, W, 3]: those of the step itself, or of its codes."""
        if "picture" in shown:
            pictures: NDArray[np.uint8] = shown["picture"]
            return pictures
        return engine.run("render", ws=codes)["picture"]

    def record(step: Step) -> None:
        if film is not None:
            film.add(drawn(step.codes, step.shown))
        if callback is not None:
            callback(step)

    outcome = descend(
        engine,
        settings.graph,
        state,
        {**settings.inputs(), **target},
        steps=settings.steps,
        course=settings.course(len(pictures), mean.size),
        every=every,
        callback=record,
        until=until,
        seconds=seconds,
        stop=stop,
        save=save,
    )
    if film is not None:
        film.add(drawn(outcome.best, outcome.shown))
        film.write()
    return _projections(outcome, settings, _layers(engine), identity["backend"])


def _first_codes(
    engine: Engine, pictures: NDArray[np.uint8], start: Start, given: ArrayLike | None
) -> NDArray[np.float32]:
    count = len(pictures)
    mean = np.asarray(engine.bundle.constants["w_mean"], np.float32)
    shape = (count, _layers(engine), mean.size)
    if given is not None:
        code = as_code(given, "start")
        if code.shape[-2:] != shape[1:]:
            raise InputError(
                f"start has shape {code.shape[-2:]} (layers, width), this generator {shape[1:]}",
                hint="Start from a code of the same generator",
            )
        return np.broadcast_to(code, shape).copy()
    encoded = "invert" in engine.bundle.spec.graphs
    if start == "encoder" and not encoded:
        raise InputError("this bundle has no encoder to start from", hint="Use start='mean'")
    if start != "mean" and encoded:
        return engine.run("invert", picture=pictures)["ws"]
    return np.broadcast_to(mean, shape).copy()


def _identity(
    engine: Engine,
    pictures: NDArray[np.uint8],
    settings: Settings,
    start: ArrayLike | None,
) -> dict[str, str]:
    """What must be equal for a saved run to go on to the bits of an unbroken one."""
    given = b"" if start is None else as_code(start).tobytes()
    return {
        "bundle": engine.bundle.fingerprint,
        "target": hashlib.sha256(pictures.tobytes() + given).hexdigest(),
        "settings": f"{settings.graph} {settings.identity()}",
        "backend": engine.backend_of(settings.graph),
    }


def _projections(
    outcome: Outcome, settings: Settings, layers: int, backend: str
) -> list[Projection]:
    codes = settings.codes(outcome.best, layers)
    pictures = outcome.shown.get("picture")
    return [
        Projection(
            ws=codes[i],
            loss=float(outcome.loss[i]),
            terms=dict(zip(settings.terms, map(float, outcome.terms[i]), strict=True)),
            steps=outcome.steps,
            ended=outcome.ended,
            converged=outcome.losses[-1] < outcome.losses[0] or outcome.steps == 0,
            losses=tuple(outcome.losses),
            seconds=outcome.seconds,
            backend=backend,
            picture=None if pictures is None else Picture(pictures[i]),
        )
        for i in range(len(codes))
    ]


def _layers(engine: Engine) -> int:
    return int(engine.bundle.spec.properties["num_ws"])  # type: ignore[arg-type]


def _noise_pixels(engine: Engine, graph: str) -> int:
    """Pixels of all noise maps of a sample, one after another; 0 for a graph that has none."""
    shapes = (t.shape[1] for t in engine.bundle.graph(graph).inputs if t.name == "noise")
    return int(next(shapes, 0))


def check_limits(every: int, until: float | None, seconds: float | None) -> None:
    """Raise InputError where a limit of a run is none."""
    if every < 1:
        raise InputError(f"every is {every}, expected 1 step or more")
    for name, value in (("until", until), ("seconds", seconds)):
        if value is not None and not value > 0:
            raise InputError(f"{name} is {value}, expected more than 0")


def crops(pictures: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Stack aligned crops to [N, size, size, 3]. Raises InputError where one has another size."""
    for i, picture in enumerate(pictures):
        if picture.shape != (size, size, 3):
            raise InputError(
                f"picture {i} is {picture.shape[1]} x {picture.shape[0]} px, "
                f"this generator makes {size} x {size}",
                hint="Align the photograph first: studio.align(photo), or mien align",
            )
    return np.stack(list(pictures))
