"""A GPU that records, and a TensorRT that runs plans in ONNX Runtime: no hardware, real results.

The device queues what is asked of it and does it when a stream is synchronised, as a GPU may; its
memory is the host's, so that a forgotten wait, a use after freeing or a copy too many shows. It
fails when and how a test says, in the words of the real driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import onnx
import onnxruntime

from mien_engines.backends.base import Session
from mien_engines.backends.trt import Host, Trt
from mien_engines.device import Bytes, Device, DeviceInfo
from mien_engines.sizes import open_dimensions, profile
from mien_engines.spec import GraphSpec
from mien_engines.trt_builder import build_plan
from mien_engines.trt_library import Library

OOM = "cuMemAlloc failed: out of memory"
LOST = "cuStreamSynchronize failed: an illegal memory access was encountered"
DLPACK_CPU = 1
ALIGNMENT = 256


class FakeDevice(Device):
    """Records every call in `log`, as (what, of what).

    fail: what -> (at which call, counted from 1, the driver's message).
    """

    kind = "fake"

    def __init__(self, name: str = "Fake GPU", sm: str = "9.0", driver: str = "580.1") -> None:
        super().__init__()
        self.dlpack = (DLPACK_CPU, 0)  # its memory is the host's: NumPy can look at it
        self.facts = DeviceInfo(name, sm, driver)
        self.log: list[tuple[str, int]] = []
        self.fail: dict[str, tuple[int, str]] = {}
        self.memory: dict[int, Bytes] = {}
        self.pins: dict[int, Bytes] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.capturing: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.drivers: dict[int, int] = {}  # stream -> the thread whose work is queued in it
        self.shared: list[int] = []  # streams that two threads used at once
        self._numbers = itertools.count(1)
        self._mutex = threading.RLock()
        self._current = threading.local()

    @property
    def leaked(self) -> dict[str, int]:
        """What was given out and not given back."""
        held = {
            "memory": self.memory,
            "pinned": self.pins,
            "streams": self.streams,
            "graphs": self.graphs,
        }
        return {name: len(things) for name, things in held.items() if things}

    def calls(self, what: str) -> int:
        return sum(name == what for name, _ in self.log)

    def info(self) -> DeviceInfo:
        return self.facts

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        self._current.depth = getattr(self._current, "depth", 0) + 1
        try:
            yield
        finally:
            self._current.depth -= 1

    def note(self, what: str, of: int) -> None:
        with self._mutex:
            assert getattr(self._current, "depth", 0), f"{what} without the device being current"
            self.log.append((what, of))
            at, message = self.fail.get(what, (0, ""))
            if at and self.calls(what) == at:
                raise RuntimeError(message)

    def submit(self, stream: int, work: Callable[[], None]) -> None:
        with self._mutex:
            if stream in self.capturing:
                self.capturing[stream].append(work)
                return
            thread = threading.get_ident()
            if self.drivers.setdefault(stream, thread) != thread:
                self.shared.append(stream)
            self.streams[stream].append(work)

    def _captures(self) -> int:
        """How many captures the calling thread is in: those of others do not bind it."""
        return getattr(self._current, "captures", 0)

    def _has_queued(self) -> bool:
        """Whether the calling thread has work in a stream. That of others is not this memory's."""
        thread = threading.get_ident()
        with self._mutex:
            own = [stream for stream, driver in self.drivers.items() if driver == thread]
            return any(self.streams.get(stream) for stream in own)

    def at(self, address: int, nbytes: int) -> Bytes:
        """The bytes at an address, which must be of one living piece of memory."""
        for block in tuple(self.memory.values()):  # others allocate meanwhile
            offset = address - block.ctypes.data
            if 0 <= offset and offset + nbytes <= block.nbytes:
                return block[offset : offset + nbytes]
        outside = (ctypes.c_uint8 * nbytes).from_address(address)  # of another library
        assert address in FOREIGN, "a device address that is not allocated"
        return np.frombuffer(outside, np.uint8)

    def allocate_impl(self, nbytes: int) -> int:
        assert not self._captures(), "memory was allocated in a capture"
        self.note("allocate", nbytes)
        whole = np.full(nbytes + ALIGNMENT, 0xAB, np.uint8)  # not zero: forgotten uploads show
        begin = -whole.ctypes.data % ALIGNMENT  # as CUDA gives it out
        block = whole[begin : begin + nbytes]
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def free_impl(self, address: int) -> None:
        self.note("free", address)
        assert not self._has_queued(), "memory was freed while work was queued"
        del self.memory[address]

    def pin_impl(self, nbytes: int) -> Bytes:
        assert not self._captures(), "memory was pinned in a capture"
        self.note("pin", nbytes)
        block = np.full(nbytes, 0xCD, np.uint8)
        self.pins[block.ctypes.data] = block
        return block

    def unpin_impl(self, array: Bytes) -> None:
        self.note("unpin", array.ctypes.data)
        assert not self._has_queued(), "pinned memory was freed while work was queued"
        del self.pins[array.ctypes.data]

    def open_stream_impl(self) -> int:
        number = next(self._numbers)
        self.note("stream", number)
        self.streams[number] = []
        return number

    def close_stream_impl(self, stream: int) -> None:
        self.note("close", stream)
        del self.streams[stream]

    def upload_impl(self, address: int, array: Bytes, stream: int) -> None:
        self.note("upload", stream)
        self.submit(stream, lambda: np.copyto(self.at(address, array.nbytes), array))

    def download_impl(self, array: Bytes, address: int, stream: int) -> None:
        self.note("download", stream)
        self.submit(stream, lambda: np.copyto(array, self.at(address, array.nbytes)))

    def copy_impl(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self.note("copy", stream)
        self.submit(
            stream, lambda: np.copyto(self.at(target, nbytes), self.at(source, nbytes).copy())
        )

    def synchronize_impl(self, stream: int) -> None:
        self.note("synchronize", stream)
        with self._mutex:  # who waits for a stream that another thread works off waits for that
            queued, self.streams[stream] = self.streams[stream], []
            for work in queued:
                work()
            self.drivers.pop(stream, None)

    def wait_impl(self) -> None:
        for stream in list(self.streams):
            self.synchronize_impl(stream)

    def begin_capture_impl(self, stream: int) -> None:
        self.note("begin capture", stream)
        self.capturing[stream] = []
        self._current.captures = self._captures() + 1

    def end_capture_impl(self, stream: int) -> Any:
        recorded = self.capturing.pop(stream)
        self._current.captures -= 1
        self.note("end capture", stream)
        number = next(self._numbers)
        self.graphs[number] = recorded
        return number

    def launch_impl(self, graph: Any, stream: int) -> None:
        self.note("launch", stream)
        self.submit(stream, lambda work=self.graphs[graph]: [one() for one in work])  # type: ignore[misc]

    def free_graph_impl(self, graph: Any) -> None:
        self.note("free graph", graph)
        del self.graphs[graph]


FOREIGN: set[int] = set()  # addresses of arrays that another library owns


@dataclass
class FakePlan:
    """What a fake builder makes of an ONNX file: the file, its weights inside."""

    model: bytes
    profile: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    HEAD: ClassVar[bytes] = b"fake plan\n"

    def pack(self) -> bytes:
        return self.HEAD + repr((self.profile, self.flags)).encode() + b"\n" + self.model

    @classmethod
    def unpack(cls, data: bytes) -> FakePlan | None:
        import ast

        if not bytes(data).startswith(cls.HEAD):
            return None
        settings, _, model = bytes(data)[len(cls.HEAD) :].partition(b"\n")
        return cls(model, *ast.literal_eval(settings.decode()))


class FakeRuntimeConfig:
    _strategy = "static"

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self._strategy = strategy


class FakeRuntimeCache:
    """Which shapes something was compiled for."""

    _HEAD = b"fake kernels\n"

    def __init__(self) -> None:
        self.kernels: set[str] = set()

    def serialize(self) -> bytes:
        return self._HEAD + "\n".join(sorted(self.kernels)).encode()

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(self._HEAD):
            return False
        self.kernels |= set(blob[len(self._HEAD) :].decode().splitlines())
        return True


class FakeRtxRuntimeConfig(FakeRuntimeConfig):
    """What TensorRT-RTX has beyond that."""

    dynamic_shapes_kernel_specialization_strategy = "lazy"

    def __init__(self) -> None:
        self._cache = FakeRuntimeCache()

    def create_runtime_cache(self) -> FakeRuntimeCache:
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache: FakeRuntimeCache) -> bool:
        self._cache = cache
        return True


class FakeContext:
    def __init__(self, engine: FakeEngine, config: FakeRuntimeConfig) -> None:
        self.engine, self._config = engine, config
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self._needed = -1  # bytes; until all shapes are known, unknown
        self._memory = (0, -1)

    def update_device_memory_size_for_shapes(self) -> int:
        assert self.shapes.keys() == self.engine.inputs.keys(), "not all shapes are set"
        self._needed = sum(int(np.prod(s, dtype=int)) for s in self.shapes.values())
        return self._needed

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory % ALIGNMENT == 0
        self._memory = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        bounds = self.engine.plan.profile.get(name)
        if bounds is not None:
            inside = [a <= n <= b for a, n, b in zip(bounds[0], shape, bounds[2], strict=True)]
            if not all(inside):
                return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """By running it on zeros: ONNX Runtime knows no other way."""
        feeds = {n: np.zeros(self.shapes[n], t) for n, t in self.engine.inputs.items()}
        return tuple(self.engine.session.run([name], feeds)[0].shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        device, engine = self.engine.device, self.engine
        device.note("execute", stream_handle)
        if engine.refuse:
            engine.logger.log(FakeILogger.ERROR, engine.refuse)
            return False
        if stream_handle in device.capturing and not engine.capturable:
            engine.logger.log(FakeILogger.ERROR, "this TRT engine is not stream capturable.")
            return False
        assert self._config._strategy == "user managed"
        memory, size = self._memory
        assert size >= self._needed >= 0, "too little memory to compute in"
        self._compile()
        addresses, shapes = dict(self.addresses), dict(self.shapes)

        def work() -> None:
            device.at(memory, size)[:] = 0xEE
            feeds = {}
            for name, dtype in engine.inputs.items():
                nbytes = int(np.prod(shapes[name], dtype=int)) * np.dtype(dtype).itemsize
                raw = device.at(addresses[name], nbytes)
                feeds[name] = raw.view(dtype).reshape(shapes[name]).copy()
            for name, value in zip(
                engine.outputs, engine.session.run(engine.outputs, feeds), strict=True
            ):
                bytes_of = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                np.copyto(device.at(addresses[name], bytes_of.nbytes), bytes_of)

        device.submit(stream_handle, work)
        return True

    def _compile(self) -> None:
        if isinstance(self._config, FakeRtxRuntimeConfig):
            assert self._config.dynamic_shapes_kernel_specialization_strategy == "eager"
            kernels, shapes = self._config._cache.kernels, repr(sorted(self.shapes.items()))
            if shapes not in kernels:
                self.engine.device.note("compile", len(kernels))
                kernels.add(shapes)


class FakeRtxContext(FakeContext):
    def is_stream_capturable(self, stream: int) -> bool:
        return self.engine.capturable


class FakeEngine:
    _rtx = False

    def __init__(self, plan: FakePlan, device: FakeDevice, logger: Any) -> None:
        self.plan, self.device, self.logger = plan, device, logger
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(plan.model, options)
        model = onnx.load_from_string(plan.model)
        self.inputs = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.input
        }
        self.outputs = [value.name for value in model.graph.output]
        self.refuse = ""
        self.capturable = not self._rtx or MEMORY_FLAG in plan.flags
        self.contexts = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self.inputs else "output"

    def create_runtime_config(self) -> FakeRuntimeConfig:
        return FakeRtxRuntimeConfig() if self._rtx else FakeRuntimeConfig()

    def create_execution_context(self, settings: FakeRuntimeConfig) -> FakeContext | None:
        self.device.note("context", self.contexts)
        self.contexts += 1
        return (FakeRtxContext if self._rtx else FakeContext)(self, settings)


class FakeRtxEngine(FakeEngine):
    _rtx = True


class FakeILogger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal error", "warning"

    def log(self, severity: str, message: str) -> None: ...


class FakeRuntime:
    def __init__(
        self, logger: Any, device: FakeDevice, engines: list[FakeEngine], kind: type[FakeEngine]
    ) -> None:
        self.logger, self.device, self.engines, self._kind = logger, device, engines, kind

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        found = FakePlan.unpack(plan)
        if found is None:
            self.logger.log(FakeILogger.ERROR, "Serialization assertion failed: magic tag")
            return None
        self.engines.append(self._kind(found, self.device, self.logger))
        return self.engines[-1]


class FakeTensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.shape = tuple(
            d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim
        )


class FakeNetwork:
    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None

    @property
    def _model(self) -> onnx.ModelProto:
        return cast(onnx.ModelProto, self.model)

    @property
    def num_inputs(self) -> int:
        return len(self._model.graph.input)

    @property
    def num_layers(self) -> int:
        return len(self._model.graph.node)

    def get_input(self, index: int) -> FakeTensor:
        return FakeTensor(self._model.graph.input[index])


class FakeParser:
    def __init__(self, network: FakeNetwork, logger: Any) -> None:
        self.network, self.error = network, ""

    @property
    def num_errors(self) -> int:
        return int(bool(self.error))

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self.error)

    def parse(self, model: bytes, path: str) -> bool:
        return self.parse_from_file(path)

    def parse_from_file(self, path: str) -> bool:
        try:
            self.network.model = onnx.load(path)
        except Exception as error:
            self.error = f"cannot parse: {error}"
        return not self.error


class FakeTiming:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"."


class FakeConfig:
    def __init__(self, built: FakeBuilder) -> None:
        self.builder = built
        self.progress_monitor: Any = None
        self.cleared: list[str] = []
        self._flags: list[str] = []
        self.profile: FakeProfile | None = None

    def set_flag(self, flag: str) -> None:
        self._flags.append(flag)

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)
        self._flags = [other for other in self._flags if other != flag]

    def set_memory_pool_limit(self, pool: str, nbytes: int) -> None: ...

    def create_timing_cache(self, data: bytes) -> FakeTiming:
        return FakeTiming(data)

    def set_timing_cache(self, cache: FakeTiming, ignore_mismatch: bool) -> bool:
        return True

    def add_optimization_profile(self, profile: FakeProfile) -> int:
        self.profile = profile
        return 0


class FakeProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = (tuple(least), tuple(usual), tuple(most))


MEMORY_FLAG = "memory of the user"
ALLOCATES = "allocates as it runs"  # the name of a node that does


class FakeBuilder:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> FakeNetwork:
        assert flags & 1 << 1, "networks are strongly typed"
        return FakeNetwork()

    def create_builder_config(self) -> FakeConfig:
        return FakeConfig(self)

    def create_optimization_profile(self) -> FakeProfile:
        return FakeProfile()

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig) -> bytes | None:
        assert "tf32" in config.cleared
        monitor, model = config.progress_monitor, network._model
        if monitor is not None:
            monitor.phase_start("Building engine", None, len(model.graph.node))
            for step in range(len(model.graph.node)):
                if not monitor.step_complete("Building engine", step):
                    return None
            monitor.phase_finish("Building engine")
        if any(node.op_type == "Telepathy" for node in model.graph.node):
            self.logger.log(FakeILogger.ERROR, "no implementation for node Telepathy")
            return None
        if MEMORY_FLAG in config._flags and any(n.name == ALLOCATES for n in model.graph.node):
            self.logger.log(FakeILogger.ERROR, "requireUserAllocation && !isStreamCapturable")
            return None
        profile = config.profile.shapes if config.profile is not None else {}
        return FakePlan(model.SerializeToString(), profile, tuple(config._flags)).pack()


class FakeMonitor:
    """The base class of progress monitors."""


def fake_trt(
    device: FakeDevice, version: str = "11.4.0.106", kind: type[FakeEngine] = FakeEngine
) -> Any:
    """A module with the names of TensorRT 11 that mien uses, and no others."""
    engines: list[FakeEngine] = []
    return SimpleNamespace(
        __version__=version,
        ILogger=FakeILogger,
        Builder=FakeBuilder,
        OnnxParser=FakeParser,
        Runtime=lambda logger: FakeRuntime(logger, device, engines, kind),
        IProgressMonitor=FakeMonitor,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
        engines=engines,
    )


def fake_rtx(device: FakeDevice) -> Any:
    """A module with what TensorRT-RTX has beyond that."""
    module = fake_trt(device, "1.7.1.116", FakeRtxEngine)
    module.BuilderFlag.REQUIRE_USER_ALLOCATION = MEMORY_FLAG
    module.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    module.IRuntimeCache = FakeRuntimeCache
    return module


def fake_host(device: FakeDevice | None = None, version: str = "11.4.0.106") -> Host:
    """A machine with that GPU and a TensorRT."""
    device = device or FakeDevice()
    return Host(Library("trt", fake_trt(device, version)), device)


def fake_rtx_host(device: FakeDevice | None = None) -> Host:
    """A machine with that GPU and a TensorRT-RTX."""
    device = device or FakeDevice()
    return Host(Library("rtx", fake_rtx(device)), device)


class BuildingTrt(Trt):
    """The backend, with plans that it builds of whatever it opens."""

    def __init__(self, host: Host, most: int = 64) -> None:
        super().__init__(host)
        self.name = host.library.name  # type: ignore[misc]
        self.most = most

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        sizes = dict.fromkeys(open_dimensions(spec), (1, 2, self.most))
        built = build_plan(self.host.library, path, profile(spec, sizes))
        return self.session(spec, built.plan)
