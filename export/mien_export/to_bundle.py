"""Write a bundle: graphs, one file of weights that all of them point into, constants, manifest.

The folder appears under its name only when it is complete; until then it is built beside it, and
an error or an interrupt removes what was built.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper
from safetensors.numpy import save_file
from torch import nn

from mien_engines.bundle import file_entry, save_spec
from mien_engines.errors import InputError, NonFiniteWeights
from mien_engines.spec import BundleSpec, GraphSpec, Source
from mien_export.agreement import with_agreement
from mien_export.forms import with_forms
from mien_export.graph import Graph
from mien_export.precision import in_half
from mien_export.to_onnx import onnx_from_module

WEIGHTS = "weights.safetensors"
CONSTANTS = "constants.safetensors"
SMALL = 256  # elements: smaller tensors stay inside the graph's own file

Progress = Callable[[str, int, int], None]


@dataclass
class WeightStore:
    """Every weight once, under a readable name.

    half: keep float32 weights as float16; graphs cast them back, so they compute as before.
    """

    half: bool = False
    tensors: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: NDArray[np.generic]) -> str:
        """Keep value and return the name it is stored under."""
        digest = hashlib.sha256(repr((value.dtype, value.shape)).encode() + value.tobytes())
        key = digest.hexdigest()
        if key not in self._names:
            base = name.partition("___")[0].replace("__", ".")
            free = next(
                n
                for i in range(999)
                if (n := base if i == 0 else f"{base}.{i}") not in self.tensors
            )
            self._names[key] = free
            self.tensors[free] = value
        return self._names[key]


def write_bundle(
    folder: Path,
    graphs: Sequence[Graph],
    *,
    name: str,
    family: str,
    source: Source,
    properties: Mapping[str, int | float | str | list[int | float | str]],
    constants: Mapping[str, NDArray[np.float32]],
    half: bool = False,
    fp16: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Export every graph and write the bundle to folder.

    half: store weights as float16; graphs compute in float32 all the same.
    fp16: add a form of each graph that computes in float16, with its error, measured in ONNX
        Runtime. Steps with state are left out: their gradients do not fit into float16.

    Raises InputError where folder exists already, unless overwrite, and NonFiniteWeights.
    """
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already", hint="Name another folder or add --overwrite")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        store = WeightStore(half)
        models = {}
        for i, graph in enumerate(graphs):
            progress(graph.name, i, len(graphs))
            model = _model(graph)
            models[graph.name] = _exported(model, graph.name, store)
            if fp16 and not graph.state:
                narrow = in_half(model)
                models[f"{graph.name}.fp16"] = _exported(narrow, f"{graph.name}.fp16", store)
        progress("writing", len(graphs), len(graphs))
        _write_weights(building / WEIGHTS, store.tensors)
        places = _places(building / WEIGHTS)
        for graph_name, model in models.items():
            _point_outside(model, places)
            (building / f"{graph_name}.onnx").write_bytes(model.SerializeToString())
        save_file({**constants, **_samples(graphs)}, building / CONSTANTS)
        spec = BundleSpec(
            name=name,
            family=family,
            source=source,
            properties=dict(properties),
            files={p.name: file_entry(p) for p in sorted(building.iterdir())},
            graphs={g.name: _graph_spec(g) for g in graphs},
        )
        progress("measuring", len(graphs), len(graphs))
        modules = {g.name: g.module for g in graphs if isinstance(g.module, nn.Module)}
        spec = with_agreement(building, spec, modules)
        if fp16:
            spec = with_forms(building, spec)
        save_spec(building, spec)
        for file in building.iterdir():
            file.chmod(0o644)  # safetensors writes for its owner alone
        building.chmod(0o755)
        _put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(building: Path, folder: Path) -> None:
    """Give building the name of folder, whose old content goes only after that."""
    replaced = building.with_name(f"{building.name}.replaced")
    if folder.exists():
        folder.rename(replaced)
    building.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _exported(source: onnx.ModelProto, name: str, store: WeightStore) -> onnx.ModelProto:
    """Move the weights of a model into the store; the source keeps its own."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    model.graph.name = name
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if not np.isfinite(value).all():
            raise NonFiniteWeights(
                f"graph {name}: {tensor.name.replace('__', '.')} holds NaN or infinity",
                hint="The checkpoint is damaged or diverged in training; use another",
            )
        if value.size < SMALL:
            continue
        if store.half and value.dtype == np.float32:
            casts.append(_halve(tensor, value))
            value = numpy_helper.to_array(tensor)
        _refer(tensor, store.add(tensor.name, value))
    _insert_first(model, casts)
    return model


def _model(graph: Graph) -> onnx.ModelProto:
    if isinstance(graph.module, onnx.ModelProto):
        return graph.module
    return onnx_from_module(
        graph.module.eval(),
        list(graph.examples),
        [t.name for t in graph.inputs],
        [t.name for t in graph.outputs],
        [t.shape for t in graph.inputs],
    )


def _halve(tensor: TensorProto, value: NDArray[np.float32]) -> onnx.NodeProto:
    """Make tensor float16 and return the cast that gives its old name the values back."""
    if np.abs(value).max() > np.finfo(np.float16).max:
        raise NonFiniteWeights(
            f"{tensor.name.replace('__', '.')} has values beyond float16",
            hint="Export it without --half",
        )
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}___half"))
    return onnx.helper.make_node("Cast", [f"{name}___half"], [name], to=TensorProto.FLOAT)


def _insert_first(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _refer(tensor: TensorProto, stored: str) -> None:
    """Drop the tensor's data; it lives in the weights file under the name `stored`."""
    tensor.ClearField("raw_data")
    tensor.doc_string = stored


def _write_weights(path: Path, tensors: Mapping[str, NDArray[np.generic]]) -> None:
    # safetensors aligns by dtype and packs in order of size; ONNX only needs each one's place.
    save_file(dict(tensors), path)


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Return where each tensor of a safetensors file lies: offset and length in bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    begin = 8 + length
    return {
        name: (
            begin + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
    }


def _point_outside(model: onnx.ModelProto, places: Mapping[str, tuple[int, int]]) -> None:
    for tensor in model.graph.initializer:
        if stored := tensor.doc_string:
            offset, length = places[stored]
            tensor.raw_data = b""
            external_data_helper.set_external_data(tensor, WEIGHTS, offset, length)
            tensor.ClearField("raw_data")
            tensor.ClearField("doc_string")


def _samples(graphs: Sequence[Graph]) -> dict[str, NDArray[np.float32]]:
    return {
        f"sample.{graph.name}.{name}": np.ascontiguousarray(value.detach().numpy())
        for graph in graphs
        for name, value in graph.samples.items()
    }


def _graph_spec(graph: Graph) -> GraphSpec:
    return GraphSpec(
        file=f"{graph.name}.onnx",
        inputs=tuple(graph.inputs),
        outputs=tuple(graph.outputs),
        gate=graph.gate,
        state=graph.state,
        frequent=graph.frequent,
    )
