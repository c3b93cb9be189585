"""What Triton is told of each model: its `config.pbtxt`, as messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mien_engines.spec import DType, GraphSpec, TensorSpec
from mien_export.triton.plans import Ensemble, Film
from mien_export.triton.text import Message, Word, entries

Backend = Literal["ort", "trt"]
Device = Literal["auto", "cpu", "gpu"]

BATCH = "N"  # the name of the batch's dimension in a bundle
TYPES: dict[DType, str] = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}
BACKENDS: dict[Backend, tuple[str, str]] = {
    "ort": ("onnxruntime", "model.onnx"),
    "trt": ("tensorrt", "model.plan"),
}
START = "START"  # the input that is true in the first request of a sequence
HELD = "_held"  # behind the name of what a sequence holds


@dataclass(frozen=True)
class Serving:
    """How models are served.

    max_batch: samples that Triton may put into one call; 0 leaves batches to the clients.
    delay_us: how long a request may wait for others. queue: requests that may wait; more are
        refused. instances: of each model, on each device. sequences: that one instance of a film
        serves in turns. idle_s: after which a sequence that says nothing is forgotten.
    """

    max_batch: int = 8
    delay_us: int = 500
    queue: int = 256
    instances: int = 1
    device: Device = "auto"
    sequences: int = 16
    idle_s: int = 60


@dataclass(frozen=True)
class Port:
    """An input or an output of a served model.

    dims: as its clients state them, without the batch where Triton makes the batches; -1 is any.
    scalar: one number a sample, which Triton states as [1] and hands on without that.
    optional: may be left out of a request.
    """

    name: str
    dtype: DType
    dims: tuple[int, ...]
    scalar: bool = False
    optional: bool = False

    def message(self) -> Message:
        fields: dict[str, Any] = {
            "name": self.name,
            "data_type": Word(TYPES[self.dtype]),
            "dims": list(self.dims),
        }
        if self.scalar:
            fields["reshape"] = {"shape": []}
        if self.optional:
            fields["optional"] = True
        return fields


@dataclass(frozen=True)
class Model:
    """A model of the repository.

    graph: of the bundle; None for a chain. batches: whether Triton puts requests together.
    """

    name: str
    graph: str | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batches: bool
    config: Message


def graph_model(name: str, graph: GraphSpec, serving: Serving, backend: Backend) -> Model:
    """Return the model of a graph.

    Triton puts requests together only where every input and output has the batch first: a graph
    with settings for a whole call, such as `alpha [1]`, gets its batches from the client.
    """
    batches = serving.max_batch > 0 and _batches(graph)
    inputs, outputs = (
        tuple(_port(tensor, batches) for tensor in side) for side in (graph.inputs, graph.outputs)
    )
    kind, file = BACKENDS[backend]
    scheduling: Message = {"dynamic_batching": _batching(serving)} if batches else {}
    config = {
        "name": name,
        "backend": kind,
        "default_model_filename": file,
        "max_batch_size": serving.max_batch if batches else 0,
        **_ports(inputs, outputs),
        **_instances(serving),
        **scheduling,
    }
    return Model(name, graph.name, inputs, outputs, batches, config)


def ensemble_model(
    name: str, ensemble: Ensemble, models: Mapping[str, Model], serving: Serving
) -> Model:
    """Return the model of an ensemble. models: those of the graphs, by graph."""
    batches = all(models[graph].batches for graph in ensemble.graphs)
    taken, made, steps = dict[str, Port](), dict[str, Port](), list[Message]()
    for step in ensemble.steps:
        model = models[step.graph]
        names = {port.name: step.inputs.get(port.name, port.name) for port in model.inputs}
        for port in model.inputs:
            taken.setdefault(names[port.name], _seen(port, names[port.name], model, batches))
        for port in model.outputs:
            if new := step.outputs.get(port.name):
                made[new] = _seen(port, new, model, batches)
        steps.append(
            {
                "model_name": model.name,
                "model_version": -1,
                "input_map": entries(names),
                "output_map": entries(step.outputs),
            }
        )
    inputs = tuple(port for port in taken.values() if port.name not in made)
    outputs = tuple(made[output] for output in ensemble.outputs)
    config = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": serving.max_batch if batches else 0,
        **_ports(inputs, outputs),
        "ensemble_scheduling": {"step": steps},
    }
    return Model(name, None, inputs, outputs, batches, config)


def film_model(name: str, film: Film, graphs: Mapping[str, GraphSpec], serving: Serving) -> Model:
    """Return the model of a film: `mien_export.triton.film` makes its ONNX file."""
    first, frame = graphs[film.first], graphs[film.frame]
    held = [tensor.name for tensor in first.outputs]
    inputs = (
        *(_port(t, False) for t in frame.inputs if t.name not in held),
        *(_once(t, film.inputs.get(t.name, t.name)) for t in first.inputs),
    )
    outputs = tuple(_port(tensor, False) for tensor in frame.outputs)
    start = {
        "name": START,
        "control": [{"kind": Word("CONTROL_SEQUENCE_START"), "bool_false_true": [False, True]}],
    }
    kind, file = BACKENDS["ort"]
    config = {
        "name": name,
        "backend": kind,
        "default_model_filename": file,
        "max_batch_size": 0,
        **_ports(inputs, outputs),
        **_instances(serving),
        "sequence_batching": {
            "max_sequence_idle_microseconds": serving.idle_s * 1_000_000,
            "oldest": {"max_candidate_sequences": serving.sequences},
            "control_input": [start],
            "state": [_state(tensor) for tensor in first.outputs],
        },
    }
    return Model(name, None, inputs, outputs, False, config)


def _batches(graph: GraphSpec) -> bool:
    tensors = (*graph.inputs, *graph.outputs)
    return all(tensor.shape[:1] == (BATCH,) and BATCH not in tensor.shape[1:] for tensor in tensors)


def _port(tensor: TensorSpec, batches: bool) -> Port:
    dims = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    if not batches:
        return Port(tensor.name, tensor.dtype, dims)
    return Port(tensor.name, tensor.dtype, dims[1:] or (1,), scalar=len(dims) == 1)


def is_picture(tensor: TensorSpec) -> bool:
    """Tell whether a tensor is uint8 [N, H, W, 3]: worth leaving out where it is not needed."""
    return tensor.dtype == "uint8" and len(tensor.shape) == 4


def _once(tensor: TensorSpec, name: str) -> Port:
    """An input that is looked at in the first request alone."""
    port = _port(tensor, False)
    return Port(name, port.dtype, port.dims, optional=is_picture(tensor))


def _seen(port: Port, name: str, model: Model, batches: bool) -> Port:
    """A model's port, as an ensemble states it that batches or does not."""
    whole = (-1, *port.dims) if model.batches else port.dims
    return Port(name, port.dtype, whole[1:] if batches else whole)


def _state(tensor: TensorSpec) -> Message:
    """What a sequence holds of one film. It is overwritten before it is first read; zeros are
    there because Triton reads it at the start, too."""
    dims = [1, *(size for size in tensor.shape[1:] if isinstance(size, int))]
    type_ = Word(TYPES[tensor.dtype])
    return {
        "input_name": f"{tensor.name}{HELD}",
        "output_name": f"{tensor.name}{HELD}_next",
        "data_type": type_,
        "dims": dims,
        "initial_state": [{"name": "zeros", "data_type": type_, "dims": dims, "zero_data": True}],
    }


def _ports(inputs: Iterable[Port], outputs: Iterable[Port]) -> dict[str, list[Message]]:
    return {
        "input": [port.message() for port in inputs],
        "output": [port.message() for port in outputs],
    }


def _instances(serving: Serving) -> Message:
    kind = Word(f"KIND_{serving.device.upper()}")
    return {"instance_group": [{"count": serving.instances, "kind": kind}]}


def _batching(serving: Serving) -> Message:
    return {
        "max_queue_delay_microseconds": serving.delay_us,
        "default_queue_policy": {"max_queue_size": serving.queue},
    }
