"""One subject, run by mien's backends and by torch: compared first, then timed side by side.

Frames are timed with copies from and to the host ("copies") and with everything on the device
("resident"); steps of a loop one at a visit of the host, and 16. Rows are given as soon as they are
known: who and how is the key, later rows add to earlier ones.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from opening import opened, said

from mien_engines import backends
from mien_engines.backends.base import Backend, Session
from mien_engines.backends.ort import OrtSession
from mien_engines.backends.trt import TrtSession, unfit
from mien_engines.errors import MienError, NotFinite
from mien_engines.parity import distance
from mien_engines.spec import Precision

Row = dict[str, Any]
Arrays = Mapping[str, NDArray]
AT_ONCE = 16  # steps of a loop at one visit of the host
LEAST_S = 30.0  # to open and compare a contestant, beside the seconds of the timing
COMPARED = 3  # steps of a loop whose losses are compared


@dataclass(frozen=True)
class Entrant:
    """Who runs, and how.

    call: to the end of the device's work. steps: of a loop, that it takes. found: for its row.
    remarks: what is known of how it runs once it has run.
    """

    who: str
    how: str
    call: Callable[[], object]
    steps: int = 1
    found: Row = field(default_factory=dict)
    remarks: Callable[[], Sequence[str]] = tuple


class Truth:
    """What ONNX Runtime on the CPU makes of a subject: a frame's outputs, or losses of steps."""

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.gate = subject.bundle.graph(subject.graph).gate
        bundle, graph = subject.bundle, subject.graph
        with backends.get(backends.REFERENCE).open(
            bundle.graph_path(graph), bundle.graph(graph)
        ) as session:
            self.outputs = session.run(subject.feeds)
            self.expected = self.of(session)

    def of(self, session: Session) -> Arrays:
        """What a session makes of the subject."""
        if not self.subject.state:
            return session.run(self.subject.feeds)
        loop, losses = session.loop(self.subject.feeds), []
        for _ in range(COMPARED):
            loop.step()
            losses.append(loop.read(self.gate.watch))
        return {"losses": np.stack(losses)}

    def verdict(self, found: Arrays | None, precision: Precision) -> Row:
        """state and error. found: None where it was not finite."""
        error = np.inf if found is None else max(self._error(found))
        tolerance = self.gate.tolerance_for(precision)
        if tolerance is None:
            return {"state": f"not admitted, error {error:.2g}", "error": error}
        good = error <= tolerance  # NaN is not
        state = "accepted" if good else f"refused, error {error:.2g}, at most {tolerance:.2g}"
        return {"state": state, "error": error}

    def _error(self, found: Arrays) -> list[float]:
        if self.subject.state:
            with np.errstate(all="ignore"):
                ratio = np.abs(found["losses"] / np.float64(self.expected["losses"]) - 1)
            return [float(np.nan_to_num(ratio, nan=np.inf).max())]
        errors = (distance(found[name], array) for name, array in self.expected.items())
        return [error if error == error else np.inf for error in errors]


def contest(run: Any, subject: Any, *, compiled: bool) -> Iterator[Row]:
    """Rows of everyone who takes part; who cannot run says why.

    compiled: torch is torch.compile, which takes minutes; else it is eager.
    """
    from timing import Times, take_turns

    truth, counted = Truth(subject), subject.counted()
    base = {"subject": subject.what}
    entrants: list[Entrant] = []
    for who, precision, enter in _candidates(run, subject, truth, compiled):
        key = {**base, "who": who}
        if reason := run.dropped(who):
            yield {**key, "failed": reason}
            continue
        if run.left() < run.seconds + LEAST_S:
            yield {**key, "failed": "not tried: the time was up"}
            continue
        with run.about(who):
            began = time.perf_counter()
            try:
                added = enter()
                for entrant in added:
                    entrant.call()
            except Exception as error:
                yield {**key, "failed": said(error)}
                continue
        for entrant in added:
            row = {**key, "how": entrant.how, "precision": precision, **entrant.found,
                   "ready_s": time.perf_counter() - began}  # fmt: skip
            if counted is not None:
                row |= {"gflop": counted.flops / 1e9, "gb": counted.bytes(precision) / 1e9}
            yield row
        entrants += added
    failures: dict[int, str] = {}

    @contextlib.contextmanager
    def at_work(which: int) -> Iterator[None]:
        """Who fails now has no more turns, and the others go on."""
        with run.about(entrants[which].who):
            try:
                yield
            except Exception as error:
                failures[which] = said(error)

    calls = [entrant.call for entrant in entrants]
    for which, seconds in take_turns(calls, run.repeats, run.seconds, at_work):
        entrant = entrants[which]
        found: Row = asdict(Times.of(seconds, entrant.steps)) if seconds else {}
        if remarks := entrant.remarks():
            found["remark"] = "; ".join(remarks)
        if which in failures:
            found |= {"state": "failed", "failed": failures[which]}
        yield {**base, "who": entrant.who, "how": entrant.how, **found}


def _candidates(
    run: Any, subject: Any, truth: Truth, compiled: bool
) -> list[tuple[str, Precision, Callable[[], list[Entrant]]]]:
    """Who takes part, first who must not be missed where time is short: torch eager, then mien,
    precisions that a graph is not meant for last; and torch.compile at the very end."""
    ours = [(name, backends.get(name)) for name in run.backends]
    spec = subject.bundle.graph(subject.graph)
    ours.sort(key=lambda pair: bool(unfit(spec, pair[1].precision)))  # stable
    mien = [(n, b.precision, partial(_ours, run, subject, truth, b)) for n, b in ours]
    torch = []
    for half in (False,) if run.dry else (False, True):
        who = f"torch {'compile' if compiled else 'eager'}{' fp16' if half else ''}"
        precision: Precision = "fp16" if half else "f32"
        torch.append((who, precision, partial(_theirs, run, subject, truth, who, half, compiled)))
    return [*mien, *torch] if compiled else [*torch, *mien]


def _ours(run: Any, subject: Any, truth: Truth, backend: Backend) -> list[Entrant]:
    """How a backend of mien's runs a subject."""
    session, built = opened(subject.bundle, subject.graph, backend, run.work / "refused")
    try:
        found = truth.verdict(truth.of(session), backend.precision)
    except NotFinite:
        found = truth.verdict(None, backend.precision)
    found |= built
    name, feeds = backend.name, subject.feeds
    if subject.state:
        loop = session.loop(feeds)
        return [
            Entrant(name, "1 step", loop.step, 1, found, session.remarks),
            Entrant(
                name, f"{AT_ONCE} steps", lambda: loop.advance(AT_ONCE), AT_ONCE, found,
                session.remarks,
            ),
        ]  # fmt: skip
    entrants = [Entrant(name, "copies", lambda: session.run(feeds), 1, found, session.remarks)]
    if isinstance(session, TrtSession):
        given = {n: session.put(array) for n, array in feeds.items()}
        resident = partial(session.run_resident, given)
        # A plan that cannot be captured has nothing to replay.
        frame = replay(session, feeds) or resident
        entrants += [
            Entrant(name, "run_resident", resident, 1, found, session.remarks),
            Entrant(name, "resident", frame, 1, found, session.remarks),
        ]
    if isinstance(session, OrtSession):
        entrants.append(Entrant(name, "resident", bound(session, feeds, truth.outputs), 1, found))
    return entrants


def _theirs(
    run: Any, subject: Any, truth: Truth, who: str, half: bool, compiled: bool
) -> list[Entrant]:
    """How torch runs it, after its results were compared."""
    from rivals import Rival

    rival = Rival(subject, run.device, half=half, compiled=compiled)
    if subject.state:
        watch = truth.gate.watch
        losses = [rival.run()[watch].float().cpu().numpy() for _ in range(COMPARED)]
        found = truth.verdict({"losses": np.stack(losses)}, "fp16" if half else "f32")
        rival.reset()
    else:
        found = truth.verdict(rival.with_copies(), "fp16" if half else "f32")
    if compiled:
        found |= rival.breaks()
    if subject.state:
        return [
            Entrant(who, "1 step", lambda: rival.steps(1), 1, found),
            Entrant(who, f"{AT_ONCE} steps", lambda: rival.steps(AT_ONCE), AT_ONCE, found),
        ]
    return [
        Entrant(who, "copies", rival.with_copies, 1, found),
        Entrant(who, "resident", lambda: rival.steps(1), 1, found),
    ]


def replay(session: TrtSession, feeds: Arrays) -> Callable[[], None] | None:
    """A frame as one captured graph, over buffers that stay: no copy, no allocation.

    None where the plan refuses to be captured.
    """
    lane = session.take(tuple((name, array.shape) for name, array in feeds.items()))
    for _ in range(2):  # the first warms up, the second is captured
        lane.run_resident(feeds)
    if session.remarks():
        return None

    def frame() -> None:
        lane.replay("bare", _not_captured)
        lane.stream.synchronize()

    return frame


def _not_captured() -> NoReturn:
    raise MienError("the frame was not captured, so a replay cannot be timed")


def bound(session: OrtSession, feeds: Arrays, outputs: Arrays) -> Callable[[], None]:
    """A frame of ONNX Runtime over inputs and outputs that stay on the device."""
    from onnxruntime import OrtValue

    binding = session.session.io_binding()
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array, session.device, 0))
    for name, array in outputs.items():
        there = OrtValue.ortvalue_from_shape_and_type(
            list(array.shape), array.dtype, session.device, 0
        )
        binding.bind_ortvalue_output(name, there)

    def frame() -> None:
        session.session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return frame
