"""How far the float16 forms of a bundle's graphs are from their float32 forms."""

from __future__ import annotations

from pathlib import Path

from mien_engines.backends.base import Session
from mien_engines.backends.ort import Ort
from mien_engines.bundle import Bundle, save_spec
from mien_engines.parity import Referee, distance
from mien_engines.spec import BundleSpec, Form, GraphSpec


def with_forms(folder: Path, spec: BundleSpec) -> BundleSpec:
    """Return spec with the float16 forms that lie in folder, and their errors.

    Both forms run in ONNX Runtime on the bundle's samples. Raises BackendUnavailable without it,
    NotFinite where float16 overflows.
    """
    save_spec(folder, spec)
    bundle = Bundle.open(folder, verify=False)
    reference = Ort()

    def open_graph(name: str) -> Session:
        return reference.open(bundle.graph_path(name), bundle.graph(name))

    referee = Referee(bundle, open_graph)
    graphs = {}
    for name, graph in spec.graphs.items():
        file = f"{name}.fp16.onnx"
        graphs[name] = graph
        if file in spec.files:
            with open_graph(name) as wide, reference.open(folder / file, graph) as narrow:
                feeds = referee.feeds(name)
                expected, found = wide.run(feeds), narrow.run(feeds)
            errors = {n: distance(found[n], expected[n]) for n in expected}
            form = Form(file=file, errors=errors)
            graphs[name] = GraphSpec(**{**graph.model_dump(), "forms": {"fp16": form}})
    return spec.model_copy(update={"graphs": graphs})
