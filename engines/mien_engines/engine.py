"""An opened bundle: what the rest of mien runs graphs with."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from mien_engines import backends
from mien_engines.backends.base import Backend, Loop, Session
from mien_engines.backends.feeds import Array
from mien_engines.bundle import Bundle
from mien_engines.cache import cache_dir
from mien_engines.choose import Choice, choice_path, measure, remember, remembered
from mien_engines.errors import EngineError
from mien_engines.machine import available_cores
from mien_engines.parity import Referee


def open(
    bundle: Bundle | str | Path,
    backend: str | None = None,
    graphs: Iterable[str] | None = None,
    threads: int | None = None,
) -> Engine:
    """Open a bundle for running.

    Args:
        bundle: a bundle, or the path of one.
        backend: a name of `backends.LISTING`, such as "ov" or "trt-fp16": exactly this one, or an
            error. None: for each graph that is run often the fastest of those that pass its gate,
            which is measured once a machine and remembered; for the others the reference, ONNX
            Runtime.
        graphs: those to open now; the others are opened when they are first run.
        threads: for each call; None means one for each physical core.

    Raises:
        ModelError: the bundle is not whole.
        BackendUnavailable: the backend is not installed, or its device is not there.
        BuildFailed: it refuses a graph.
        ParityFailed: it does not agree with the reference.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    if backend is None:
        every = [backends.get(name) for name in backends.LISTING]
        candidates = [candidate for candidate in every if candidate.offered()]
    else:
        candidates = [backends.get(backend)]  # raises, and lists those that there are
    engine = Engine(opened, candidates, backends.get(backends.REFERENCE), threads)
    if backend is not None:
        candidates[0].probe()
    for graph in graphs or ():
        engine.session(graph)
    return engine


class Engine:
    """Runs the graphs of a bundle. Any number of threads may use it at once.

    Args:
        candidates: the backends to choose from; a single one is taken or refused.
        reference: what the others have to agree with.
    """

    def __init__(
        self,
        bundle: Bundle,
        candidates: list[Backend],
        reference: Backend,
        threads: int | None = None,
    ) -> None:
        self.bundle = bundle
        self._candidates = candidates
        self._reference = reference
        self._threads = threads or available_cores()
        self._referee = Referee(bundle, lambda graph: self._open(reference, graph))
        self._sessions: dict[str, Session] = {}
        self._choices: dict[str, Choice] = {}
        self._lock = threading.RLock()
        self._closed = False

    def run(self, graph: str, /, **feeds: Array) -> dict[str, Array]:
        """Run a graph once: its inputs by name, its outputs by name.

        Raises:
            ArchMismatch: the bundle has no such graph.
            InputError: an input is missing, unknown, or of another dtype or shape.
            NotFinite: an output holds NaN or infinity.
        """
        return self.session(graph).run(feeds)

    def loop(self, graph: str, /, **feeds: Array) -> Loop:
        """Start a loop over a graph with state. Raises as `run` does."""
        return self.session(graph).loop(feeds)

    def backend_of(self, graph: str) -> str:
        """The name of the backend that runs a graph, which is opened if it was not."""
        return self.session(graph).backend.name

    def report(self) -> list[Choice]:
        """Who runs the graphs that were opened so far, how fast, and why the others do not."""
        with self._lock:
            return [self._remarked(choice) for choice in self._choices.values()]

    def session(self, graph: str) -> Session:
        """The session of a graph, opened at its first use."""
        opened = self._sessions.get(graph)
        if opened is not None:
            return opened
        with self._lock:
            if self._closed:
                raise EngineError(f"the engine of bundle {self.bundle.name} is closed")
            if graph not in self._sessions:
                self._choices[graph], self._sessions[graph] = self._choose(graph)
            return self._sessions[graph]

    def close(self) -> None:
        """Give back what the backends hold. Calls that are under way must have returned."""
        with self._lock:
            self._closed = True
            while self._sessions:
                self._sessions.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _choose(self, graph: str) -> tuple[Choice, Session]:
        if not self._has_choice(graph):
            return Choice.of(graph, self._reference), self._open(self._reference, graph)
        path = choice_path(self.bundle, graph, self._candidates, self._threads)
        known = remembered(path, graph, self._candidates)
        if known is not None:
            try:
                return known, self._open(self._named(known.backend), graph)
            except EngineError:
                pass  # it opened once and no longer does: look again
        choice, session = measure(
            graph, self._candidates, self._reference, self._referee, self._open
        )
        remember(path, choice)
        return choice, session

    def _remarked(self, choice: Choice) -> Choice:
        """With what its session has found since it was chosen."""
        session = self._sessions.get(choice.graph)
        remarks = session.remarks() if session is not None else ()
        return choice.model_copy(update={"remarks": remarks}) if remarks else choice

    def _has_choice(self, graph: str) -> bool:
        if len(self._candidates) == 1:
            return self._candidates[0] is not self._reference
        return self.bundle.graph(graph).measured

    def _named(self, name: str) -> Backend:
        return next(backend for backend in self._candidates if backend.name == name)

    def _open(self, backend: Backend, graph: str) -> Session:
        # The fingerprint covers the weights, so that no compiled form serves two bundles.
        compiled = cache_dir() / "compiled" / self.bundle.fingerprint
        return backend.open(
            self.bundle.graph_path(graph), self.bundle.graph(graph), self._threads, compiled
        )
