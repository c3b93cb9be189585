"""How far the graphs of a bundle are from the networks in PyTorch that they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien_engines.backends.base import Session
from mien_engines.backends.feeds import Array
from mien_engines.backends.ort import Ort
from mien_engines.bundle import Bundle, save_spec
from mien_engines.parity import Referee, distance
from mien_engines.spec import BundleSpec, GraphSpec


class ThriftyOrt(Ort):
    """ONNX Runtime that gives its memory back after each run.

    Its arena keeps twice what a graph needs, which at 1024 px is more than a gigabyte.
    """

    def configure(self, options: Any) -> None:
        options.enable_cpu_mem_arena = False


def with_agreement(folder: Path, spec: BundleSpec, modules: Mapping[str, nn.Module]) -> BundleSpec:
    """Return spec with the errors of its graphs, each run in ONNX Runtime on the bundle's samples.

    folder: where the graphs lie. modules: what a graph was made from, by its name; a graph that
    came as ONNX has none, and no figure.

    Steps with state are left out. Adam's first step is the gradient's sign, and where that is near
    zero, both signs are right; and a gradient at 1024 px takes 11 GB, where the export takes 2.

    Raises BackendUnavailable without ONNX Runtime.
    """
    save_spec(folder, spec)
    bundle = Bundle.open(folder, verify=False)
    reference = ThriftyOrt()

    def open_graph(name: str) -> Session:
        return reference.open(bundle.graph_path(name), bundle.graph(name))

    referee = Referee(bundle, open_graph)
    graphs = dict(spec.graphs)
    for name, module in modules.items():
        graph = spec.graphs[name]
        if graph.state:
            continue
        feeds = referee.feeds(name)
        with open_graph(name) as session:
            found = session.run(feeds)
        expected = _run(module, graph, feeds)
        errors = {n: distance(found[n], expected[n]) for n in expected}
        graphs[name] = graph.model_copy(update={"errors": errors})
    return spec.model_copy(update={"graphs": graphs})


@torch.no_grad()
def _run(module: nn.Module, graph: GraphSpec, feeds: Mapping[str, Array]) -> dict[str, Array]:
    inputs = [torch.from_numpy(feeds[tensor.name].copy()) for tensor in graph.inputs]
    outputs = module.eval()(*inputs)
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    names = (tensor.name for tensor in graph.outputs)
    return {name: value.numpy() for name, value in zip(names, several, strict=True)}
