"""Which backend runs a graph: the fastest of those that pass the gate, measured once a machine."""

from __future__ import annotations

import hashlib
import logging
import statistics
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mien_engines.backends.base import Backend, Session
from mien_engines.backends.feeds import Array
from mien_engines.bundle import Bundle
from mien_engines.cache import cache_dir, write_atomic
from mien_engines.errors import EngineError, MienError, ParityFailed
from mien_engines.machine import cpu_name
from mien_engines.parity import Referee
from mien_engines.spec import Precision

# A candidate is timed for so many calls, and stopped early when they have taken this long.
MIN_CALLS, MAX_CALLS = 3, 15
BUDGET_S = 0.4
# A lower precision has to be worth it: it must save this part of the time.
WORTH_IT = 0.1

logger = logging.getLogger("mien")

Opener = Callable[[Backend, str], Session]


class Choice(BaseModel):
    """Which backend runs a graph, and why the others do not.

    precision: of the session; fp32 where a backend of fewer bits has a graph that is not for them.
    seconds: of one call, the median; None where nothing was measured.
    error: the distance from the reference, in the measure of the graph's gate.
    refused: backend -> the reason.
    remarks: on how the backend runs it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: str
    backend: str
    precision: Precision
    seconds: float | None = None
    error: float | None = None
    refused: dict[str, str] = {}
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        graph: str,
        backend: Backend,
        *,
        seconds: float | None = None,
        error: float | None = None,
        refused: dict[str, str] | None = None,
    ) -> Self:
        return cls(
            graph=graph,
            backend=backend.name,
            precision=backend.precision,
            seconds=seconds,
            error=error,
            refused=refused or {},
        )


def choice_path(bundle: Bundle, graph: str, candidates: Sequence[Backend], threads: int) -> Path:
    """Where the choice is remembered that was made under these conditions."""
    decisive = [bundle.fingerprint, graph, cpu_name(), str(threads)]
    decisive += [f"{backend.name} {backend.version()}" for backend in candidates]
    key = hashlib.sha256("\0".join(decisive).encode()).hexdigest()
    return cache_dir() / "choices" / f"{key}.json"


def remembered(path: Path, graph: str, candidates: Sequence[Backend]) -> Choice | None:
    """The choice kept at a path; None where there is none that can be read."""
    try:
        choice = Choice.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    known = choice.backend in [backend.name for backend in candidates]
    return choice if known and choice.graph == graph else None


def remember(path: Path, choice: Choice) -> None:
    """Keep a choice for the next process; where that fails, it is measured again."""
    write_atomic(path, choice.model_dump_json(indent=1).encode())


def measure(
    graph: str,
    candidates: Sequence[Backend],
    reference: Backend,
    referee: Referee,
    open_graph: Opener,
) -> tuple[Choice, Session]:
    """Time every candidate; the fastest that passes the gate is chosen, the others are closed.

    Where the bundle has no sample inputs, nothing can be compared: the reference is chosen.

    Raises:
        ParityFailed: the only candidate is too far from the reference, or cannot be compared.
        EngineError: no candidate runs.
    """
    opened: list[Session] = []
    chosen: Session | None = None

    def open_kept(backend: Backend) -> Session:
        opened.append(open_graph(backend, graph))
        return opened[-1]

    try:
        choice, chosen = _fastest(graph, candidates, reference, referee, open_kept)
        return choice, chosen
    finally:
        for session in opened:
            if session is not chosen:
                _close(session)


def _close(session: Session) -> None:
    """A device that is found lost only now is no fault of the one that was chosen."""
    try:
        session.close()
    except MienError as error:
        logger.warning("%s could not be closed: %s", session.backend.name, error.message)


def _let_go(error: MienError) -> MienError:
    """Empty the frames of what failed: they hold its loop, and that holds memory of a device."""
    failure: BaseException | None = error
    while failure is not None:
        traceback.clear_frames(failure.__traceback__)
        failure = failure.__cause__ or failure.__context__
    return error


def _fastest(
    graph: str,
    candidates: Sequence[Backend],
    reference: Backend,
    referee: Referee,
    open_session: Callable[[Backend], Session],
) -> tuple[Choice, Session]:
    """The choice of `measure`, and its session; whoever asks closes the others."""
    judge = open_session(reference)
    try:
        feeds = referee.feeds(graph)
    except ParityFailed as error:
        if reference not in candidates:
            raise
        others = [backend.name for backend in candidates if backend is not reference]
        return Choice.of(graph, reference, refused=dict.fromkeys(others, error.message)), judge

    refused: dict[str, MienError] = {}
    trials: list[_Trial] = []
    for backend in candidates:
        try:
            session = judge if backend is reference else open_session(backend)
            trials.append(_Trial(backend, session, _seconds_per_call(session, feeds)))
        except MienError as error:
            refused[backend.name] = _let_go(error)
    for trial in sorted(trials, key=lambda trial: trial.cost):
        try:
            distance = (
                0.0 if trial.session is judge else _gate(referee, graph, trial.session, judge)
            )
        except MienError as failure:
            refused[trial.backend.name] = _let_go(failure)
            continue
        reasons = {slower.backend.name: slower.beside(trial) for slower in trials}
        reasons |= {name: failure.message for name, failure in refused.items()}
        del reasons[trial.backend.name]
        choice = Choice.of(
            graph, trial.backend, seconds=trial.seconds, error=distance, refused=reasons
        ).model_copy(
            update={
                "precision": trial.session.backend.precision,
                "remarks": trial.session.remarks(),
            }
        )
        return choice, trial.session
    if len(candidates) == 1:
        raise refused[candidates[0].name]
    listed = "; ".join(f"{name}: {failure.message}" for name, failure in refused.items())
    raise EngineError(
        f"no backend runs graph {graph}: {listed}", hint="See what is installed: mien doctor"
    )


@dataclass(frozen=True)
class _Trial:
    """A candidate that ran, and how long it took."""

    backend: Backend
    session: Session
    seconds: float

    @property
    def cost(self) -> float:
        return self.seconds if self.backend.precision == "f32" else self.seconds / (1 - WORTH_IT)

    def beside(self, winner: _Trial) -> str:
        mine, theirs = 1e3 * self.seconds, 1e3 * winner.seconds
        return f"{mine:.3g} ms a call, {winner.backend.name} takes {theirs:.3g} ms"


def _gate(referee: Referee, graph: str, session: Session, judge: Session) -> float:
    result = referee.check(graph, session, judge)
    if not result.passed:
        measured = (
            f" is {result.worst:.2g} from the reference, tolerance {result.tolerance:.2g}"
            if result.tolerance
            else ""  # the precision is not admitted, so nothing was measured
        )
        raise ParityFailed(
            f"graph {graph}, backend {session.backend.name}: {result.detail}{measured}",
            hint="Choose another with backend=...",
        )
    return result.worst


def _seconds_per_call(session: Session, feeds: Mapping[str, Array]) -> float:
    """Median of a few calls, after one to warm up."""
    call = session.loop(feeds).step if session.spec.state else lambda: session.run(feeds)
    call()
    times: list[float] = []
    while len(times) < MIN_CALLS or (sum(times) < BUDGET_S and len(times) < MAX_CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
