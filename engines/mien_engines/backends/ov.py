"""OpenVINO on the CPU, in fp32 and in bf16: the fastest of the CPU backends where it passes."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mien_engines.backends.base import Backend, Loop, Session
from mien_engines.backends.compiled import compiled_path, load_compiled, save_compiled
from mien_engines.backends.feeds import Array, resolve
from mien_engines.backends.ov_functions import extensions
from mien_engines.backends.ov_precision import keep_float32
from mien_engines.errors import BackendUnavailable, BuildFailed
from mien_engines.machine import cpu_name
from mien_engines.spec import GraphSpec, Precision

DEVICE = "CPU"
MAX_FORMS = 8  # of one graph, compiled for different shapes
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
_import_lock = threading.Lock()


@cache
def _core() -> Any:
    core = _openvino().Core()
    for extension in extensions():
        core.add_extension(extension)
    return core


def _openvino() -> Any:
    """The module, imported so that it reports nothing to anyone.

    OpenVINO 2026.4 sends an "import" event to an analytics server and writes an id into ~/intel,
    unless the user has opted out. Where openvino_telemetry cannot be imported it takes a stub.
    """
    with _import_lock:
        if "openvino" in sys.modules or "openvino_telemetry" in sys.modules:
            import openvino

            return openvino
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
        return openvino


def _part_weights(model: Any) -> None:
    """Give each operator weights of its own, which no other reads at the same address.

    OpenVINO 2026.4.1 finds repacked weights by address and layout alone. Where x @ S and x @ S.T,
    or a Conv and a ConvTranspose, share a square S, as gradients do, one of them silently gets the
    other's (tests/engines/test_shared_weights.py). Transposes would share later: folded first.
    """
    from openvino import op, passes

    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())
    folding.run_passes(model)
    taken: set[int] = set()
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or len(node.shape) < 2:
            continue
        for reader in node.output(0).get_target_inputs():
            if node.data.ctypes.data in taken:
                reader.replace_source_output(op.Constant(node.data.copy()).output(0))
            taken.add(node.data.ctypes.data)


def read_static(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The graph as OpenVINO reads it, for inputs of these shapes. Raises RuntimeError."""
    model = _core().read_model(path)
    model.reshape({name: list(shape) for name, shape in shapes.items()})
    return model


def matrix_product(a: Array, b: Array, precision: Precision, threads: int) -> Callable[[], object]:
    """A call that multiplies two matrices [M, K] and [K, N]: what this processor can do at most."""
    openvino = _openvino()
    ops = openvino.opset13
    # b is a constant, as weights are: it is laid out for the kernel once.
    left = ops.parameter(list(a.shape), np.float32, "a")
    model = openvino.Model([ops.matmul(left, ops.constant(b), False, False)], [left], "product")
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = _core().compile_model(model, DEVICE, config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(a))
    return lambda: request.infer()


class Ov(Backend):
    """OpenVINO on the CPU, fp32."""

    name = "ov"
    precision: ClassVar[Precision] = "f32"
    distributions = ("openvino",)
    revision = 3

    def probe(self) -> str:
        try:
            version = _openvino().__version__
        except ImportError as error:
            raise BackendUnavailable(
                f"backend {self.name} needs openvino", hint="Type: pip install 'mien[cpu]'"
            ) from error
        if DEVICE not in _core().available_devices:
            raise BackendUnavailable(
                f"backend {self.name}: OpenVINO {version} does not know this processor",
                hint='Choose another: backend="ort"',
            )
        return f"openvino {version}, {_core().get_property(DEVICE, 'FULL_DEVICE_NAME')}"

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        return OvSession(spec, self, path, threads, cache)

    def compile(self, path: Path, shapes: Shapes, threads: int, cache: Path | None) -> Any:
        """The graph compiled for inputs of these shapes, or taken from the cache."""
        config = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        decisive = (self.name, self.version(), cpu_name(), threads, shapes)
        kept = compiled_path(cache, path.stem, *decisive)
        compiled = load_compiled(kept, lambda blob: _core().import_model(blob, DEVICE, config))
        if compiled is None:
            with self.refusals(path):
                model = read_static(path, dict(shapes))
                _part_weights(model)
                self.prepare(model)
                compiled = _core().compile_model(model, DEVICE, config)
            if kept is not None:
                save_compiled(kept, compiled.export_model().getvalue())
        self._verify(compiled, path)
        return compiled

    def prepare(self, model: Any) -> None:
        """Change a model of static shapes before it is compiled."""

    def _verify(self, compiled: Any, path: Path) -> None:
        devices = compiled.get_property("EXECUTION_DEVICES")
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if list(devices) != [DEVICE] or precision != self.precision:
            raise BuildFailed(
                f"backend {self.name}: {path.name} was compiled for {', '.join(devices)} in "
                f"{precision}, asked for {DEVICE} in {self.precision}",
                hint='Choose another: backend="ort"',
            )


class OvBf16(Ov):
    """OpenVINO on the CPU, bf16 where the processor multiplies bf16 in hardware.

    Feature maps are bf16; pictures, codes, statistics and losses stay float32 (`ov_precision`).
    """

    name = "ov-bf16"
    precision: ClassVar[Precision] = "bf16"
    revision = 4

    def probe(self) -> str:
        found = super().probe()
        if "BF16" not in _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
            raise BackendUnavailable(
                f"backend {self.name}: this processor has no bf16 instructions",
                hint='Choose another: backend="ov"',
            )
        return found

    def prepare(self, model: Any) -> None:
        keep_float32(model, _core())


class OvSession(Session):
    """A graph compiled anew for each set of input shapes: 2 to 3 times faster than once for all.

    A small projection step took 3.5 ms in a static and 11.5 ms in a dynamic form (OpenVINO 2026.4).
    """

    def __init__(
        self, spec: GraphSpec, backend: Ov, path: Path, threads: int, cache: Path | None
    ) -> None:
        super().__init__(spec, backend)
        model = _core().read_model(path)
        self.check_names(
            [port.any_name for port in model.inputs], [port.any_name for port in model.outputs]
        )
        self._how = (backend, path, threads, cache)
        self._forms: OrderedDict[Shapes, _Form] = OrderedDict()
        self._lock = threading.Lock()

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        form = self.form(feeds)
        request = form.take()
        try:
            results = request.infer(feeds)
            return {name: results[name] for name in self.outputs}
        finally:
            form.idle.append(request)

    def form(self, feeds: Mapping[str, Array]) -> _Form:
        """The compiled form for the shapes of these feeds."""
        shapes = tuple((name, array.shape) for name, array in feeds.items())
        with self._lock:
            if shapes not in self._forms:
                backend, path, threads, cache = self._how
                self._forms[shapes] = _Form(backend.compile(path, shapes, threads, cache))
                if len(self._forms) > MAX_FORMS:
                    self._forms.popitem(last=False)
            self._forms.move_to_end(shapes)
            return self._forms[shapes]

    def loop_impl(self, feeds: dict[str, Array], sizes: Mapping[str, int]) -> Loop:
        return OvLoop(self, feeds, sizes)

    def close_impl(self) -> None:
        with self._lock:
            self._forms.clear()


class _Form:
    """A compiled model, and as many infer requests as were ever needed at once."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self.idle: list[Any] = []  # pop and append are atomic

    def take(self) -> Any:
        """An infer request that no one else uses."""
        try:
            return self.idle.pop()
        except IndexError:
            return self.compiled.create_infer_request()


class OvLoop(Loop):
    """State ping-pongs between two sets of tensors that the request is pointed at in turn."""

    def __init__(
        self, session: OvSession, feeds: dict[str, Array], sizes: Mapping[str, int]
    ) -> None:
        super().__init__(session, feeds)
        from openvino import Tensor

        spec = session.spec
        self._request = session.form(feeds).take()  # kept: no other thread may have it
        self._inputs = {name: Tensor(array) for name, array in feeds.items()}
        self._outputs = {
            t.name: Tensor(np.dtype(t.dtype), resolve(t.shape, sizes)) for t in spec.outputs
        }
        for name, tensor in (self._inputs | self._outputs).items():
            self._request.set_tensor(name, tensor)

    def step_impl(self) -> None:
        self._request.infer()
        for output, name in self.session.spec.state.items():
            self._inputs[name], self._outputs[output] = self._outputs[output], self._inputs[name]
            self._request.set_tensor(name, self._inputs[name])
            self._request.set_tensor(output, self._outputs[output])

    def output_impl(self, name: str) -> Array:
        state = self.session.spec.state
        tensor = self._inputs[state[name]] if name in state else self._outputs[name]
        return np.array(tensor.data)

    def input_impl(self, name: str) -> Array:
        return np.array(self._inputs[name].data)

    def set_impl(self, name: str, array: Array) -> None:
        self._inputs[name].data[...] = array
