"""A graph of a bundle, opened by one backend after another, ready to be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.bench.failing import left_out
from mien.bench.report import Accuracy, Failure, Refusal, Stage
from mien.bench.scenarios import NewCall
from mien.errors import InputError, MienError
from mien_engines import Bundle
from mien_engines.backends import REFERENCE, get
from mien_engines.backends.base import Backend, Session
from mien_engines.parity import Referee
from mien_engines.spec import GraphSpec, Precision

Feeds = dict[str, NDArray[Any]]

MEASURES = {
    "outputs": "greatest difference, as a part of the reference's range",
    "loop": "excess of the loss after the gate's steps",
}


@dataclass(frozen=True)
class Contestant:
    """Who is timed. new_call: makes a call for one caller.

    shapes: of what a call is fed, for counting; none where a call is a whole verb.
    """

    who: str
    precision: Precision
    new_call: NewCall
    open_ms: float
    first_ms: float
    accuracy: Accuracy | None
    shapes: dict[str, tuple[int, ...]]


def graph_contestants(
    bundle: Bundle,
    graph: str,
    backends: Sequence[Backend],
    stack: ExitStack,
    *,
    batch: int = 1,
    threads: int | None = None,
) -> Iterator[Contestant | Refusal | Failure]:
    """Open a graph with each backend and hold it against the reference; stack closes it.

    The inputs are the bundle's own samples, repeated to the batch. What the gate does not let pass
    is timed all the same, and marked. Who fails gives back what it holds before the next opens.

    Raises InputError for a batch that the graph does not take; ParityFailed without samples.
    """
    spec, path = bundle.graph(graph), bundle.graph_path(graph)
    reference = get(REFERENCE)

    def open_reference(name: str) -> Session:
        return reference.open(bundle.graph_path(name), bundle.graph(name), threads)

    referee = Referee(bundle, open_reference)
    judge = stack.enter_context(open_reference(graph))
    samples = referee.feeds(graph)
    feeds = repeated(spec, dict(samples), batch)
    work = f"{bundle.name}/{graph}"
    stage: Stage
    for backend in backends:
        own, stage = stack.enter_context(ExitStack()), "opening"
        try:
            began = time.perf_counter()
            session = own.enter_context(backend.open(path, spec, threads))
            opened, stage = time.perf_counter(), "first call"
            _caller(session, feeds)()()
            first, stage = time.perf_counter(), "accuracy"
            result = referee.check(graph, session, judge)
        except MienError as error:
            own.close()
            yield left_out(work, backend.name, stage, error)
            continue
        accuracy = Accuracy(
            measure=MEASURES[spec.gate.kind],
            value=result.worst,
            tolerance=result.tolerance,
            passed=result.passed,
            detail=result.detail,
        )
        yield Contestant(
            backend.name,
            backend.precision,
            _caller(session, feeds),
            1e3 * (opened - began),
            1e3 * (first - opened),
            accuracy,
            {name: array.shape for name, array in feeds.items()},
        )


def repeated(spec: GraphSpec, feeds: Feeds, batch: int) -> Feeds:
    """Repeat the first sample of inputs that have a batch. Raises InputError where none has."""
    named = check_batch(spec, batch)
    return {
        name: np.repeat(array[:1], batch, 0) if name in named else array
        for name, array in feeds.items()
    }


def check_batch(spec: GraphSpec, batch: int) -> list[str]:
    """Return the inputs that have a batch. Raises InputError where none has, and one is asked."""
    named = [t.name for t in spec.inputs if t.shape and t.shape[0] == "N"]
    if batch > 1 and not named:
        raise InputError(f"graph {spec.name} takes no batch", hint="Leave --batch out")
    return named


def _caller(session: Session, feeds: Feeds) -> NewCall:
    """Calls of a graph; of one with state, a loop for each caller."""
    if session.spec.state:
        return lambda: session.loop(feeds).step

    def call() -> object:
        return session.run(feeds)

    def new() -> Callable[[], object]:
        return call

    return new
