"""The gate: does a backend agree with the reference, within what the bundle tolerates?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_engines.backends.base import Session
from mien_engines.backends.feeds import Array
from mien_engines.bundle import Bundle
from mien_engines.errors import NotFinite, ParityFailed
from mien_engines.spec import Gate

F64 = NDArray[np.float64]

PART = 1 << 20  # numbers that are compared at a time: feature maps of 1024 px have 100 million


@dataclass(frozen=True)
class GateResult:
    """How far a candidate is from the reference.

    worst: the greatest error, in the gate's own measure; infinite where a result is not finite.
    detail: where it occurred.
    """

    worst: float
    tolerance: float
    passed: bool
    detail: str


class Referee:
    """Knows a bundle's sample inputs, and what the reference makes of them.

    Args:
        open_reference: opens a graph, by name, with the reference backend.
    """

    def __init__(self, bundle: Bundle, open_reference: Callable[[str], Session]) -> None:
        self._bundle = bundle
        self._open_reference = open_reference
        self._feeds: dict[str, dict[str, Array]] = {}
        self._expected: dict[str, dict[str, Array]] = {}

    def feeds(self, graph: str) -> Mapping[str, Array]:
        """Sample inputs of a graph. Raises ParityFailed where the bundle has none."""
        return self._feeds_of(graph, ())

    def check(self, graph: str, candidate: Session, reference: Session) -> GateResult:
        """Hold a candidate against the reference. Raises ParityFailed without sample inputs."""
        gate = self._bundle.graph(graph).gate
        tolerance = gate.tolerance_for(candidate.backend.precision)
        if tolerance is None:
            detail = f"the bundle admits no {candidate.backend.precision} for this graph"
            return GateResult(np.inf, 0.0, False, detail)
        feeds = self.feeds(graph)
        if graph not in self._expected:
            self._expected[graph] = _arrival(reference, feeds, gate) or reference.run(feeds)
        expected = self._expected[graph]
        try:
            arrived = _arrival(candidate, feeds, gate)
            found = candidate.run(feeds) if arrived is None else arrived
        except NotFinite as error:
            return GateResult(np.inf, tolerance, False, error.message)
        if arrived is None:
            worst, detail = max((distance(found[name], expected[name]), name) for name in expected)
        else:
            worst, detail = _judged(reference, feeds, gate, found, expected)
        return GateResult(worst, tolerance, worst <= tolerance, detail)

    def _feeds_of(self, graph: str, asking: tuple[str, ...]) -> dict[str, Array]:
        if graph not in self._feeds:
            names = [tensor.name for tensor in self._bundle.graph(graph).inputs]
            self._feeds[graph] = {name: self._sample(graph, name, asking) for name in names}
        return self._feeds[graph]

    def _shape(self, graph: str, name: str) -> tuple[int | str, ...]:
        return next(t.shape for t in self._bundle.graph(graph).inputs if t.name == name)

    def _sample(self, graph: str, name: str, asking: tuple[str, ...]) -> Array:
        constants = self._bundle.constants
        for key in (f"sample.{graph}.{name}", f"sample.{name}"):
            if key in constants:
                return _filled(constants[key], self._shape(graph, name))
        asking = (*asking, graph)
        for other, spec in self._bundle.spec.graphs.items():
            makes_it = any(tensor.name == name for tensor in spec.outputs)
            if makes_it and not spec.state and other not in asking:
                with self._open_reference(other) as session:
                    return session.run(self._feeds_of(other, asking))[name]
        raise ParityFailed(
            f"bundle {self._bundle.name}: graph {graph} cannot be checked, "
            f"there is no sample of its input {name}",
            hint=f"Export it again, with sample.{graph}.{name} among the constants",
        )


def _filled(sample: Array, shape: tuple[int | str, ...]) -> Array:
    """A sample. A plain list of numbers for an input of higher rank is repeated to fill it, with a
    batch of 1: a state of millions of numbers need not be stored to be tested."""
    if sample.ndim == 1 < len(shape):
        return np.resize(sample, [1 if isinstance(size, str) else size for size in shape])
    return sample


def distance(found: Array, expected: Array) -> float:
    """Greatest difference over the range of the expected values (over 1 where they are equal)."""
    if found.shape != expected.shape:
        return np.inf
    one, two = found.reshape(-1), expected.reshape(-1)
    parts = range(0, one.size, PART)
    far = [np.abs(one[i : i + PART] - two[i : i + PART].astype(np.float64)).max() for i in parts]
    spread = float(two.max()) - float(two.min()) or 1.0
    return float(np.max(far)) / spread


def excess(found: Array, expected: Array) -> float:
    """By which part of the reference's loss a candidate's is higher, for the worst sample."""
    reference: F64 = np.asarray(expected, np.float64)
    scale = np.maximum(np.abs(reference), np.finfo(np.float32).tiny)
    return float(((found - reference) / scale).max())


def _arrival(session: Session, feeds: Mapping[str, Any], gate: Gate) -> dict[str, Array] | None:
    """Where a loop stands before its last step, and the loss that it reads there.

    None for a gate that is not of a loop.
    """
    if gate.kind != "loop" or gate.watch is None:
        return None
    loop = session.loop(feeds)
    for _ in range(gate.steps - 1):
        loop.step()
    state = loop.state()
    loop.step()
    return state | {gate.watch: loop.read(gate.watch)}


def _judged(
    reference: Session,
    feeds: Mapping[str, Any],
    gate: Gate,
    found: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> tuple[float, str]:
    """The worse of two faults: to arrive too high, and to misread one's own loss.

    The reference takes the loss of where the candidate arrived, since a candidate of low precision
    misreads small losses; by how much, as a part of the whole descent, is the other fault.
    """
    assert gate.watch is not None
    state = {name: array for name, array in found.items() if name != gate.watch}
    true = reference.run(dict(feeds) | state)[gate.watch]
    first = reference.run(feeds)[gate.watch]
    arrived = excess(true, expected[gate.watch])
    misread = distance_of_losses(found[gate.watch], true, first)
    if arrived >= misread:
        return arrived, f"{gate.watch} after {gate.steps} steps"
    return misread, f"its own reading of {gate.watch} after {gate.steps} steps"


def distance_of_losses(found: Array, true: Array, first: Array) -> float:
    """The greatest misreading, as a part of the loss that the descent began with."""
    scale = np.maximum(np.abs(np.asarray(first, np.float64)), np.finfo(np.float32).tiny)
    return float((np.abs(np.asarray(found, np.float64) - true) / scale).max())
