"""TensorRT and TensorRT-RTX on a CUDA device: plans that `mien build` has made and accepted."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mien_engines.backends.base import Backend, Loop, Session
from mien_engines.backends.contexts import Contexts, KernelFile
from mien_engines.backends.feeds import Array, check_array, check_names, check_shape
from mien_engines.backends.lane import STRIDE, Lane
from mien_engines.device import Device
from mien_engines.device_cuda import cuda_device
from mien_engines.errors import BackendUnavailable, BuildFailed, NotBuilt, Untrusted
from mien_engines.exchange import DeviceArray, is_on_device, shape_on_device
from mien_engines.plan_file import REVISION, graph_digest
from mien_engines.plans import PlanCache
from mien_engines.spec import GraphSpec, Precision
from mien_engines.trt_builder import flags_of
from mien_engines.trt_library import Library, LibraryName, library

MAX_FORMS = 8  # sets of shapes for which lanes are kept
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Host:
    """A TensorRT, and the GPU that it runs on; None where plans can only be built."""

    library: Library
    device: Device | None

    @classmethod
    def here(cls, name: LibraryName, *, needs_device: bool = True) -> Host:
        """What this machine has. Raises BackendUnavailable."""
        try:
            device: Device | None = cuda_device()
        except BackendUnavailable:
            if needs_device:
                raise
            device = None
        return cls(library(name), device)

    def machine(self) -> dict[str, Any]:
        """What has to be equal for a plan to be used: fields of its key."""
        info = self.device.info() if self.device is not None else None
        return {
            "library": self.library.name,
            "version": self.library.version,
            "gpu": info.name if info else "none",
            "sm": info.sm if info else "none",
            "driver": info.driver if info else "none",
            "flags": flags_of(self.library),
            "revision": REVISION,
        }


class Trt(Backend):
    """TensorRT, fp32 without TF32.

    Args:
        host: what to run on; None means what this machine has.
    """

    name = "trt"
    precision: ClassVar[Precision] = "f32"
    distributions: ClassVar[tuple[str, ...]] = ("tensorrt",)
    library_name: ClassVar[LibraryName] = "trt"

    def __init__(self, host: Host | None = None) -> None:
        self._host = host

    @property
    def host(self) -> Host:
        return self._host or Host.here(self.library_name)

    def probe(self) -> str:
        host = self.host
        assert host.device is not None
        info = host.device.info()
        return f"{host.library.title}, {info.name} (sm {info.sm}), driver {info.driver}"

    def offered(self) -> bool:
        """Unasked, it takes part where plans were accepted: it never builds in passing."""
        plans = PlanCache()
        for path in self._plans():
            with contextlib.suppress(Untrusted):
                if plans.header(path).verdict.accepted:
                    return True
        return False

    def version(self) -> str:
        """With what there are plans of, so that a choice is made anew after a build."""
        names = "\n".join(sorted(path.name for path in self._plans()))
        return f"{super().version()}, plans {hashlib.sha256(names.encode()).hexdigest()[:12]}"

    def _plans(self) -> list[Path]:
        return PlanCache().paths(f"{self.library_name}-{self.precision}-*")

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        plans = PlanCache()
        wanted = {"graph": spec.name, "digest": graph_digest(path), "precision": self.precision}
        try:
            found = plans.find(wanted | self.host.machine())
        except NotBuilt:
            if not unfit(spec, self.precision):
                raise
            # By the bundle's own word it is not for this precision: its session is of fp32, and
            # says so.
            return self.wide().open_impl(path, spec, threads, cache)
        return self.session(spec, plans.load(found)[1], KernelFile.beside(plans, found))

    def wide(self) -> Trt:
        """The same in fp32."""
        return {"trt": Trt, "rtx": Rtx}[self.library_name](self._host)

    def session(
        self, spec: GraphSpec, plan: bytes, kernels: KernelFile | None = None
    ) -> TrtSession:
        """Run a plan, which has to be one that is trusted. Raises BuildFailed."""
        return TrtSession(spec, self, plan, kernels)


class TrtFp16(Trt):
    """TensorRT, feature maps in float16; graphs that are not for it run in fp32."""

    name = "trt-fp16"
    precision: ClassVar[Precision] = "fp16"


class TrtBf16(Trt):
    """TensorRT, feature maps in bfloat16."""

    name = "trt-bf16"
    precision: ClassVar[Precision] = "bf16"


class Rtx(Trt):
    """TensorRT-RTX, fp32 without TF32."""

    name = "rtx"
    distributions = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx")
    library_name: ClassVar[LibraryName] = "rtx"


class RtxFp16(Rtx):
    """TensorRT-RTX, feature maps in float16."""

    name = "rtx-fp16"
    precision: ClassVar[Precision] = "fp16"


class RtxBf16(Rtx):
    """TensorRT-RTX, feature maps in bfloat16."""

    name = "rtx-bf16"
    precision: ClassVar[Precision] = "bf16"


def unfit(spec: GraphSpec, precision: Precision) -> str:
    """Why a graph is not meant for a precision; nothing where it is."""
    if spec.gate.tolerance_for(precision) is None:
        return f"the bundle admits no {precision} for it"
    if spec.state and precision == "fp16":
        return "its gradient does not fit into fp16; build it in fp32 or bf16"
    return ""


class TrtSession(Session):
    """A plan, and lanes for each set of shapes: as many as threads ever ran it at once."""

    def __init__(
        self, spec: GraphSpec, backend: Trt, plan: bytes, kernels: KernelFile | None = None
    ) -> None:
        super().__init__(spec, backend)
        host = backend.host
        assert host.device is not None
        self.library, self.device = host.library, host.device
        self.library.said()
        with self.device.checked(f"loading the plan of graph {spec.name}"):
            self._engine = self.library.runtime().deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BuildFailed(
                f"{self.library.title} does not take the plan of graph {spec.name}: "
                f"{self.library.said() or 'no reason was given'}",
                hint="Build it again: mien build BUNDLE",
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = self.library.trt.TensorIOMode.INPUT
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        self.check_names(inputs, [name for name in names if name not in inputs])
        self._contexts: Contexts | None = Contexts(
            self.library, self.device, self._engine, spec.name, kernels
        )
        self._idle: OrderedDict[Shapes, list[Lane]] = OrderedDict()
        self._lock = threading.Lock()

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        with self._driving(_shapes(feeds)) as lane:
            return lane.run(feeds)

    def run_resident(self, feeds: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """Run once with arrays that lie on the device, and leave the outputs there.

        Args:
            feeds: input name -> a NumPy array, a DeviceArray, or anything with `__dlpack__` or
                `__cuda_array_interface__` on this device; dtypes and shapes as in the spec.

        Outputs are not looked at, so that NaN in them is not noticed.
        Raises InputError and RunError as `run` does.
        """
        sizes: dict[str, int] = {}
        given, shapes = {}, []
        for tensor in check_names(self.spec, feeds):
            value = feeds[tensor.name]
            if is_on_device(value):
                check_shape(self.spec.name, tensor, shape_on_device(value), sizes)
            else:
                value = check_array(self.spec.name, tensor, value, sizes)
            given[tensor.name] = value
            shapes.append((tensor.name, shape_on_device(value)))
        with self.typed_errors(), self._driving(tuple(shapes)) as lane:
            return lane.run_resident(given)

    def put(self, array: Array) -> DeviceArray:
        """A copy of an array on the device, for `run_resident`. Raises DeviceOutOfMemory."""
        with self.typed_errors():
            given = DeviceArray(self.device.allocate(array.nbytes), array.shape, array.dtype)
            with contextlib.ExitStack() as stack:
                host = self.device.pinned(array.shape, array.dtype)
                stack.callback(host.free)
                stream = self.device.stream()
                stack.callback(stream.close)  # before host is freed
                np.copyto(host.array, array)
                given.fill(stream, host)
        return given

    def remarks(self) -> tuple[str, ...]:
        reason = self._contexts.uncaptured if self._contexts is not None else ""
        return (f"runs without a CUDA graph, and slower: {reason}",) if reason else ()

    def loop_impl(self, feeds: dict[str, Array], sizes: Mapping[str, int]) -> Loop:
        return TrtLoop(self, feeds)

    def take(self, shapes: Shapes) -> Lane:
        """A lane that no one else drives."""
        with self._lock:
            idle = self._idle.setdefault(shapes, [])
            self._idle.move_to_end(shapes)
            if idle:
                return idle.pop()
        assert self._contexts is not None, "the session is closed"
        return Lane(self.library, self.device, self._contexts, self.spec, dict(shapes))

    def give_back(self, shapes: Shapes, lane: Lane) -> None:
        """Let others drive a lane; what is too many, or late, is closed."""
        surplus = []
        with self._lock:
            if self._closed:
                surplus.append(lane)
            else:
                self._idle.setdefault(shapes, []).append(lane)
                if len(self._idle) > MAX_FORMS:
                    surplus += self._idle.popitem(last=False)[1]
        for one in surplus:
            one.close()

    def close_impl(self) -> None:
        with self._lock:
            lanes = [lane for idle in self._idle.values() for lane in idle]
            self._idle.clear()
        for lane in lanes:
            lane.close()
        self._contexts = self._engine = None  # lanes of loops that are still held keep them

    @contextlib.contextmanager
    def _driving(self, shapes: Shapes) -> Iterator[Lane]:
        lane = self.take(shapes)
        try:
            yield lane
        except BaseException:
            lane.close()  # what was half queued in it is not for others
            raise
        self.give_back(shapes, lane)


class TrtLoop(Loop):
    """State stays on the device; several steps are one call of the driver."""

    stride = STRIDE

    def __init__(self, session: TrtSession, feeds: dict[str, Array]) -> None:
        super().__init__(session, feeds)
        shapes = _shapes(feeds)
        self._lane = session.take(shapes)
        # The lane is this loop's until it is dropped.
        weakref.finalize(self, session.give_back, shapes, self._lane).atexit = False
        for name, array in feeds.items():
            self._lane.put(name, array)

    def step_impl(self) -> None:
        self._lane.steps(1, {})

    def advance_impl(self, count: int, schedule: Mapping[str, Array]) -> None:
        for begin in range(0, count, STRIDE):
            part = slice(begin, min(begin + STRIDE, count))
            self._lane.steps(part.stop - begin, {n: v[part] for n, v in schedule.items()})
        self.steps += count

    def output_impl(self, name: str) -> Array:
        state = self.session.spec.state
        if name in state:
            return self.input_impl(state[name])
        return self._lane.fetch(self._lane.outputs[name])

    def input_impl(self, name: str) -> Array:
        return self._lane.fetch(self._lane.inputs[name])

    def set_impl(self, name: str, array: Array) -> None:
        self._lane.put(name, array)


def _shapes(feeds: Mapping[str, Array]) -> Shapes:
    return tuple((name, tuple(array.shape)) for name, array in feeds.items())
