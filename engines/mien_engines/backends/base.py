"""What a backend is: a few `*_impl` methods; the checks around them are the same for all."""

from __future__ import annotations

import contextlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from mien_engines.backends.feeds import Array, check_array, check_feeds, unknown_input
from mien_engines.errors import (
    ArchMismatch,
    BuildFailed,
    InputError,
    MienError,
    NotFinite,
    RunError,
)
from mien_engines.machine import available_cores
from mien_engines.spec import GraphSpec, Precision


class Backend(ABC):
    """Who executes graphs. A subclass is one runtime on one device at one precision."""

    name: ClassVar[str]
    precision: ClassVar[Precision]
    distributions: ClassVar[tuple[str, ...]]  # whichever of these is installed
    revision: ClassVar[int] = 1  # of our own code: raise it when results or times change

    @abstractmethod
    def probe(self) -> str:
        """The runtime's version and its device. Raises BackendUnavailable, with the remedy."""

    @abstractmethod
    def open_impl(
        self, path: Path, spec: GraphSpec, threads: int, cache: Path | None
    ) -> Session: ...

    def offered(self) -> bool:
        """Whether it takes part where no backend was asked for."""
        return True

    def version(self) -> str:
        """What is installed, found without importing it, and our revision; else nothing."""
        for distribution in self.distributions:
            try:
                found = importlib.metadata.version(distribution)
                return f"{distribution} {found}, revision {self.revision}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return ""

    def open(
        self,
        path: Path,
        spec: GraphSpec,
        threads: int | None = None,
        cache: Path | None = None,
    ) -> Session:
        """Open a graph.

        Args:
            path: the ONNX file; its weights lie beside it.
            threads: None means one for each physical core.
            cache: a folder for compiled forms, used for these weights only.

        Raises:
            BackendUnavailable: the runtime or its device is not there.
            BuildFailed: the runtime refuses the graph.
            ArchMismatch: the file is not the graph that the spec describes.
        """
        self.probe()
        with self.refusals(path):
            return self.open_impl(path, spec, threads or available_cores(), cache)

    @contextlib.contextmanager
    def refusals(self, path: Path) -> Iterator[None]:
        """Turn whatever a runtime raises over a graph into BuildFailed."""
        try:
            yield
        except MienError:
            raise
        except Exception as error:  # each runtime raises types of its own
            raise BuildFailed(
                f"backend {self.name} refuses {path.name}: {one_line(error)}",
                hint="Choose another with backend=...",
            ) from error

    def __repr__(self) -> str:
        return f"<backend {self.name}, {self.precision}>"


class Session(ABC):
    """An opened graph. Any number of threads may run it at once."""

    def __init__(self, spec: GraphSpec, backend: Backend) -> None:
        self.spec = spec
        self.backend = backend
        self.outputs = {tensor.name: tensor for tensor in spec.outputs}
        self._closed = False

    @abstractmethod
    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Feeds are checked and contiguous. The arrays returned belong to the caller."""

    def loop_impl(self, feeds: dict[str, Array], sizes: Mapping[str, int]) -> Loop:
        """A loop over `run`; override it where state can stay with the runtime."""
        return RunLoop(self, feeds)

    @abstractmethod
    def close_impl(self) -> None:
        """Give back what the runtime holds."""

    def remarks(self) -> tuple[str, ...]:
        """What whoever runs it should know of how it runs, found so far."""
        return ()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: input name -> array, with the dtypes and shapes of the spec; nothing is cast.

        Raises:
            InputError: an array is missing, unknown, or of another dtype or shape.
            NotFinite: an output holds NaN or infinity.
            RunError: the runtime gave up.
        """
        checked, _ = check_feeds(self.spec, feeds)
        with self.typed_errors():
            outputs = self.run_impl(checked)
        for name, array in outputs.items():
            self.check_finite(name, array)
        return outputs

    def loop(self, feeds: Mapping[str, Array]) -> Loop:
        """Start a state loop. `feeds` are all inputs of the first step, which is not run yet."""
        if not self.spec.state:
            raise InputError(f"graph {self.spec.name} has no state", hint="Use run()")
        checked, sizes = check_feeds(self.spec, feeds)
        with self.typed_errors():
            return self.loop_impl(checked, sizes)

    def close(self) -> None:
        """Give back what the runtime holds. Whoever runs the session afterwards gets a RunError."""
        self._closed = True
        self.close_impl()

    @contextlib.contextmanager
    def typed_errors(self) -> Iterator[None]:
        """Turn whatever a runtime raises into a RunError."""
        if self._closed:
            raise RunError(f"graph {self.spec.name}, backend {self.backend.name}: it is closed")
        try:
            yield
        except MienError:
            raise
        except Exception as error:  # each runtime raises types of its own
            raise RunError(
                f"graph {self.spec.name}, backend {self.backend.name}: {one_line(error)}",
                hint="Try a smaller batch, or another backend",
            ) from error

    def check_names(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Compare what the file has with what the spec says. Raises ArchMismatch."""
        for kind, found, tensors in (
            ("inputs", inputs, self.spec.inputs),
            ("outputs", outputs, self.spec.outputs),
        ):
            expected = [tensor.name for tensor in tensors]
            if sorted(found) != sorted(expected):
                raise ArchMismatch(
                    f"{self.spec.file} has {kind} {', '.join(found)}, "
                    f"its manifest says {', '.join(expected)}",
                    hint="Export the bundle again",
                )

    def check_finite(self, name: str, array: Array) -> None:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NotFinite(
                f"graph {self.spec.name}, backend {self.backend.name}: "
                f"output {name} holds NaN or infinity",
                hint="Check the inputs, or choose a backend of higher precision",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Loop(ABC):
    """A graph that is run again and again on its own state. One thread uses it at a time.

    The results are, bit for bit, those of `Session.run` called with the fed-back state.

    stride: steps that are best taken by one `advance`; more than one where the state lies on a
        device, and each visit of the host costs time.
    """

    stride: ClassVar[int] = 1

    def __init__(self, session: Session, feeds: Mapping[str, Array]) -> None:
        self.session = session
        self.steps = 0
        self._shapes = {name: array.shape for name, array in feeds.items()}

    @abstractmethod
    def step_impl(self) -> None: ...

    @abstractmethod
    def output_impl(self, name: str) -> Array:
        """An output of the latest step, as a copy."""

    @abstractmethod
    def input_impl(self, name: str) -> Array:
        """What the next step will be fed, as a copy."""

    @abstractmethod
    def set_impl(self, name: str, array: Array) -> None: ...

    def step(self) -> None:
        """Run once; the state outputs become the inputs of the next step."""
        with self.session.typed_errors():
            self.step_impl()
        self.steps += 1

    def advance(self, count: int, schedule: Mapping[str, Array] | None = None) -> None:
        """Run count times: as `set` and `step`, again and again, with the same results.

        Args:
            schedule: inputs that change -> their values by step, [count, ...]; the last stays.

        Raises InputError: there is no such input, or its values have another dtype or shape.
        """
        checked = {}
        for name, values in (schedule or {}).items():
            array = np.asarray(values)
            if array.ndim == 0 or len(array) != count:
                raise InputError(
                    f"graph {self.session.spec.name}: the schedule of {name} has shape "
                    f"{array.shape}, expected {count} values"
                )
            checked[name] = np.stack([self._checked(name, value) for value in array])
        if count:
            with self.session.typed_errors():
                self.advance_impl(count, checked)

    def advance_impl(self, count: int, schedule: Mapping[str, Array]) -> None:
        """Override it where a device can take several steps alone; it counts `steps` itself."""
        for i in range(count):
            for name, values in schedule.items():
                self.set_impl(name, np.asarray(values[i]))
            self.step_impl()
            self.steps += 1

    def read(self, name: str) -> Array:
        """A copy of an output of the latest step (of state: with what `set` has since put there).

        Raises:
            InputError: there is no such output, or no step was made.
            NotFinite: it holds NaN or infinity.
        """
        spec = self.session.spec
        if name not in self.session.outputs:
            known = ", ".join(self.session.outputs)
            raise InputError(f"graph {spec.name} has no output {name!r}", hint=f"It has: {known}")
        if not self.steps:
            raise InputError(f"graph {spec.name}: no step was made yet", hint="Call step() first")
        array = self.output_impl(name)
        self.session.check_finite(name, array)
        return array

    def state(self) -> dict[str, Array]:
        """Copies of the state inputs of the next step: what it takes to resume elsewhere."""
        return {name: self.input_impl(name) for name in self.session.spec.state.values()}

    def set(self, name: str, array: Array) -> None:
        """Replace an input: of the next step where it is state, else of all that follow."""
        self.set_impl(name, self._checked(name, array))

    def _checked(self, name: str, array: Array) -> Array:
        """An input's new value, held against the spec and the shapes of the loop."""
        graph = self.session.spec.name
        tensors = {tensor.name: tensor for tensor in self.session.spec.inputs}
        if name not in tensors:
            raise unknown_input(graph, name, tensors)
        array = check_array(graph, tensors[name], array, {})
        if array.shape != self._shapes[name]:
            raise InputError(
                f"graph {graph}: input {name} has shape {array.shape}, "
                f"the loop was started with {self._shapes[name]}"
            )
        return array


class RunLoop(Loop):
    """The definition of a loop: run, and feed the outputs back."""

    def __init__(self, session: Session, feeds: dict[str, Array]) -> None:
        super().__init__(session, feeds)
        self._feeds = dict(feeds)
        self._outputs: dict[str, Array] = {}

    def step_impl(self) -> None:
        self._outputs = self.session.run_impl(self._feeds)
        for output, name in self.session.spec.state.items():
            self._feeds[name] = self._outputs[output]

    def output_impl(self, name: str) -> Array:
        state = self.session.spec.state
        return self._feeds[state[name]].copy() if name in state else self._outputs[name].copy()

    def input_impl(self, name: str) -> Array:
        return self._feeds[name].copy()

    def set_impl(self, name: str, array: Array) -> None:
        self._feeds[name] = array.copy()


def one_line(error: Exception) -> str:
    """A runtime's message, without its line breaks and its stack."""
    return " ".join(str(error).split())[:300] or type(error).__name__
