"""What Triton does with a model repository, in this process, over ONNX Runtime.

Its rules for configurations, ensembles and sequences; nothing but the repository's files is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import text_format
from numpy.typing import NDArray

Array = NDArray[Any]
NUMPY = {
    "TYPE_FP32": np.float32,
    "TYPE_FP16": np.float16,
    "TYPE_UINT8": np.uint8,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_BOOL": np.bool_,
}
ONNX = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(bool)": "TYPE_BOOL",
}


def config_of(path: Path) -> Any:
    """A config.pbtxt, read by Triton's own protobuf; an unknown field or value is an error."""
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())


def type_name(field: Any) -> str:
    from tritonclient.grpc import model_config_pb2

    return str(model_config_pb2.DataType.Name(field.data_type))


def session_of(path: Path, *, light: bool = False) -> onnxruntime.InferenceSession:
    """light: to be looked at alone, which is sooner open."""
    options = onnxruntime.SessionOptions()
    if light:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def alike(dims: list[int], others: list[int]) -> bool:
    """Equal, where -1 is any size."""
    return len(dims) == len(others) and all(
        a == b or -1 in (a, b) for a, b in zip(dims, others, strict=True)
    )


class Server:
    """Models of a repository, opened when they are asked for."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.configs = {p.parent.name: config_of(p) for p in repository.glob("*/config.pbtxt")}
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def session(self, name: str) -> onnxruntime.InferenceSession:
        if name not in self._sessions:
            self._sessions[name] = session_of(self.file(name))
        return self._sessions[name]

    def file(self, name: str) -> Path:
        return self.repository / name / "1" / str(self.configs[name].default_model_filename)

    def infer(self, name: str, **inputs: Array) -> dict[str, Array]:
        """A request, as a client sends it."""
        config = self.configs[name]
        self._check(config, inputs)
        if config.HasField("ensemble_scheduling"):
            return self._chain(config, inputs)
        assert not config.HasField("sequence_batching"), f"{name} wants a sequence"
        return self._run(config, inputs)

    def sequence(self, name: str) -> Sequence:
        return Sequence(self, name)

    def _chain(self, config: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = dict(inputs)
        waiting = list(config.ensemble_scheduling.step)
        while waiting:
            ready = next(s for s in waiting if tensors.keys() >= set(s.input_map.values()))
            waiting.remove(ready)
            found = self.infer(
                ready.model_name, **{ours: tensors[name] for ours, name in ready.input_map.items()}
            )
            tensors |= {name: found[ours] for ours, name in ready.output_map.items()}
        return {output.name: tensors[output.name] for output in config.output}

    def _run(self, config: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        known = {field.name: field for field in config.input}
        feeds = {n: reshaped(config, known[n], x) if n in known else x for n, x in inputs.items()}
        session = self.session(config.name)
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(names, feeds), strict=True))
        fields = {field.name: field for field in config.output}
        return {n: stated(config, fields[n], x) if n in fields else x for n, x in found.items()}

    def _check(self, config: Any, inputs: Mapping[str, Array]) -> None:
        needed = {field.name for field in config.input if not field.optional}
        assert needed <= inputs.keys(), f"{config.name} misses {needed - inputs.keys()}"
        for field in config.input:
            if field.name in inputs:
                array = inputs[field.name]
                assert array.dtype == NUMPY[type_name(field)], f"{config.name}: {field.name}"
                whole = [-1, *field.dims] if config.max_batch_size else list(field.dims)
                assert alike(whole, list(array.shape)), f"{config.name}: {field.name} {array.shape}"
                if config.max_batch_size:
                    assert len(array) <= config.max_batch_size


class Sequence:
    """Requests that belong together; the state is the server's."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._config = server, server.configs[name]
        batching = self._config.sequence_batching
        self._start = batching.control_input[0].name
        self._state = {
            s.input_name: np.zeros(list(s.initial_state[0].dims), NUMPY[type_name(s)])
            for s in batching.state
        }
        self._first = True

    def infer(self, **inputs: Array) -> dict[str, Array]:
        self._server._check(self._config, inputs)
        control = {self._start: np.array([self._first])}
        found = self._server._run(self._config, {**inputs, **control, **self._state})
        for state in self._config.sequence_batching.state:
            self._state[state.input_name] = found.pop(state.output_name)
        self._first = False
        return found


def reshaped(config: Any, field: Any, array: Array) -> Array:
    """What a model gets of what a client states."""
    if not field.HasField("reshape"):
        return array
    batch = array.shape[:1] if config.max_batch_size else ()
    return array.reshape(*batch, *field.reshape.shape)


def stated(config: Any, field: Any, array: Array) -> Array:
    """What a client gets of what a model made."""
    if not field.HasField("reshape"):
        return array
    batch = array.shape[:1] if config.max_batch_size else ()
    return array.reshape(*batch, *field.dims)


def wiring_faults(configs: Mapping[str, Any], name: str) -> list[str]:
    """What Triton would refuse of an ensemble: its rules when a repository is loaded."""
    config = configs[name]
    ensemble = bool(config.max_batch_size)
    faults: list[str] = []
    seen = {f.name: (f.data_type, list(f.dims), ensemble) for f in config.input}
    made = {field.name for field in config.input}
    for step in config.ensemble_scheduling.step:
        model = configs[step.model_name]
        if 0 < model.max_batch_size < config.max_batch_size:
            faults.append(f"{step.model_name} takes fewer samples at once")
        batching = bool(model.max_batch_size)
        sides = ((model.input, step.input_map), (model.output, step.output_map))
        for fields, names in sides:
            ports = {field.name: field for field in fields}
            faults += [f"{step.model_name} has no {port}" for port in names if port not in ports]
            for port, tensor in names.items():
                if port in ports:
                    field = ports[port]
                    stated = (field.data_type, list(field.dims), batching)
                    other = seen.setdefault(tensor, stated)
                    if stated[0] != other[0]:
                        faults.append(f"{tensor} changes its type at {step.model_name}")
                    whole = [[-1, *dims] if batch else dims for _, dims, batch in (stated, other)]
                    if not alike(stated[1], other[1]) and not alike(*whole):
                        faults.append(f"{tensor} changes its size at {step.model_name}")
        needed = {field.name for field in model.input if not field.optional}
        faults += [f"{step.model_name} misses {port}" for port in needed - set(step.input_map)]
        faults += [f"nothing makes {t}" for t in step.input_map.values() if t not in made]
        made |= set(step.output_map.values())
    for field in config.output:
        if field.name not in made:
            faults.append(f"nothing makes {field.name}")
        elif (seen[field.name][0]) != field.data_type:
            faults.append(f"{field.name} changes its type")
        else:
            _, dims, batching = seen[field.name]
            pair = [
                [-1, *d] if b else d for d, b in ((dims, batching), (list(field.dims), ensemble))
            ]
            if not alike(*pair):
                faults.append(f"{field.name} changes its size")
    return faults
