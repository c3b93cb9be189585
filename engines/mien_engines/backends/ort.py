"""ONNX Runtime, on the CPU and with CUDA. Its fp32 CPU results are the reference of the gate."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mien_engines.backends.base import Backend, Loop, Session
from mien_engines.backends.feeds import Array, resolve
from mien_engines.errors import BackendUnavailable, BuildFailed
from mien_engines.spec import GraphSpec, Precision

ERRORS_ONLY = 3  # log severity
RECORD = "session.record_ep_graph_assignment_info"
# What nearly all the time goes into; ONNX Runtime may put "Fused" before the name.
HEAVY = ("Conv", "ConvTranspose", "MatMul", "Gemm")


class Ort(Backend):
    """ONNX Runtime on the CPU, fp32."""

    name = "ort"
    revision = 2
    precision: ClassVar[Precision] = "f32"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu")
    provider = "CPUExecutionProvider"
    device = "cpu"
    hint = "Type: pip install 'mien[cpu]'"

    def probe(self) -> str:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailable(
                f"backend {self.name} needs onnxruntime", hint=self.hint
            ) from error
        if self.provider not in onnxruntime.get_available_providers():
            raise BackendUnavailable(
                f"backend {self.name}: this onnxruntime {onnxruntime.__version__} "
                f"has no {self.provider}",
                hint=self.hint,
            )
        return f"onnxruntime {onnxruntime.__version__}, {self.device}"

    def provider_options(self) -> dict[str, str]:
        return {}

    def configure(self, options: Any) -> None:
        """Settings of the session that only this device has."""

    def check_placement(self, session: Any, graph: str) -> None:
        """Refuse a session whose work is done elsewhere than on this device."""

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin after a call hold up the next session: faces encoded by one and merged
        # by another took 1.7 to 1.9 times as long on two cores. Within a call they may.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = ERRORS_ONLY
        self.configure(options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing provider is an error, below
            session = onnxruntime.InferenceSession(
                str(path), options, providers=[(self.provider, self.provider_options())],
                enable_fallback=0,  # what fails, now or in a run, is not tried again on the CPU
            )  # fmt: skip
        found = session.get_providers()[0]
        if found != self.provider:
            raise BackendUnavailable(
                f"backend {self.name}: asked for {self.provider}, got {found}", hint=self.hint
            )
        self.check_placement(session, spec.name)
        return OrtSession(spec, self, session)


class OrtCuda(Ort):
    """ONNX Runtime on the first CUDA device, fp32 without TF32.

    ONNX Runtime computes shapes on the CPU on purpose, so nearly no graph is on the GPU as a whole;
    one whose heavy operators are not is refused.
    """

    name = "ort-cuda"
    distributions = ("onnxruntime-gpu",)
    provider = "CUDAExecutionProvider"
    device = "cuda"
    # The two wheels install the same module, and the one installed last wins.
    hint = "Type: pip uninstall -y onnxruntime; pip install --force-reinstall 'mien[gpu]'"

    def provider_options(self) -> dict[str, str]:
        return {"device_id": "0", "use_tf32": "0"}

    def configure(self, options: Any) -> None:
        import onnxruntime

        options.add_session_config_entry(RECORD, "1")  # an older version knows none of it
        onnxruntime.preload_dlls()  # CUDA and cuDNN of the [cuda,cudnn] extras

    def check_placement(self, session: Any, graph: str) -> None:
        astray = heavy_elsewhere(placement(session), self.provider)
        if astray:
            named = ", ".join(f"{node.kind} {node.name}" for node in astray[:3])
            raise BuildFailed(
                f"backend {self.name}: {len(astray)} heavy operators of graph {graph} would run "
                f"on the CPU ({named})",
                hint='Run it with another backend, such as backend="ort"',
            )


class Placed(NamedTuple):
    """An operator, and the provider that ONNX Runtime gave it to. kind: such as "Conv"."""

    provider: str
    kind: str
    name: str


def placement(session: Any) -> list[Placed]:
    """Where the operators of a session run; nothing where this ONNX Runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return [
        Placed(part.ep_name, node.op_type, node.name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def heavy_elsewhere(placed: Iterable[Placed], provider: str) -> list[Placed]:
    """The heavy operators that another provider has."""
    return [
        node
        for node in placed
        if node.provider != provider and node.kind.removeprefix("Fused") in HEAVY
    ]


class OrtSession(Session):
    """`InferenceSession.run` is thread-safe: there is nothing to guard."""

    def __init__(self, spec: GraphSpec, backend: Ort, session: Any) -> None:
        super().__init__(spec, backend)
        self.session = session
        self.device = backend.device
        self.check_names(
            [tensor.name for tensor in session.get_inputs()],
            [tensor.name for tensor in session.get_outputs()],
        )

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        names = list(self.outputs)
        return dict(zip(names, self.session.run(names, feeds), strict=True))

    def loop_impl(self, feeds: dict[str, Array], sizes: Mapping[str, int]) -> Loop:
        return OrtLoop(self, feeds, sizes)

    def close_impl(self) -> None:
        self.session = None


class OrtLoop(Loop):
    """State ping-pongs between two sets of device buffers, one binding for each direction."""

    def __init__(
        self, session: OrtSession, feeds: dict[str, Array], sizes: Mapping[str, int]
    ) -> None:
        super().__init__(session, feeds)
        from onnxruntime import OrtValue, RunOptions

        def buffer(shape: list[int], dtype: str) -> Any:
            return OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(dtype), session.device, 0)

        spec = session.spec
        self._run = session.session.run_with_iobinding
        self._options = RunOptions()
        self._inputs = {t.name: buffer(resolve(t.shape, sizes), t.dtype) for t in spec.inputs}
        self._outputs = {t.name: buffer(resolve(t.shape, sizes), t.dtype) for t in spec.outputs}
        # What is read in one direction is written in the other.
        forth = (self._inputs, self._outputs)
        back_inputs = self._inputs | {i: self._outputs[o] for o, i in spec.state.items()}
        back_outputs = self._outputs | {o: self._inputs[i] for o, i in spec.state.items()}
        back = (back_inputs, back_outputs)
        self._turns = [(self._bind(session, *sides), *sides) for sides in (forth, back)]
        for name, array in feeds.items():
            self.set_impl(name, array)

    @staticmethod
    def _bind(session: OrtSession, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
        binding = session.session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return binding

    def step_impl(self) -> None:
        self._run(self._turns[self.steps % 2][0], self._options)

    def output_impl(self, name: str) -> Array:
        _, _, outputs = self._turns[(self.steps - 1) % 2]
        return np.array(outputs[name].numpy())

    def input_impl(self, name: str) -> Array:
        _, inputs, _ = self._turns[self.steps % 2]
        return np.array(inputs[name].numpy())

    def set_impl(self, name: str, array: Array) -> None:
        _, inputs, _ = self._turns[self.steps % 2]
        inputs[name].update_inplace(array)
