"""A traced graph as the program that PyTorch's ONNX exporter reads.

`torch.export.export` would make one by tracing the graph again, and the exporter by decomposing it
again, which together took longer than all the rest of an export.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.export import ExportedProgram, ModuleCallEntry
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)


class TracedProgram(ExportedProgram):
    """A program whose operators are those that it keeps."""

    def run_decompositions(self, *_: Any, **__: Any) -> TracedProgram:
        return self


def program(graph: fx.GraphModule) -> TracedProgram:
    """Return the program of a graph from `trace`, which it takes over: weights become inputs."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    weights = _lift(graph, inputs[0])
    output = graph.graph.output_node()
    results = output.args[0]
    several = tuple(results) if isinstance(results, list | tuple) else (results,)
    output.args = (several,)
    signature = ExportGraphSignature(
        [
            *(
                InputSpec(InputKind.BUFFER, TensorArgument(node.name), name, persistent=True)
                for name, (node, _) in weights.items()
            ),
            *(InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None) for node in inputs),
        ],
        [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in several],
    )
    return TracedProgram(
        root=nn.Module(),
        graph=graph.graph,
        graph_signature=signature,
        state_dict={name: value for name, (_, value) in weights.items()},
        range_constraints={},
        module_call_graph=[ModuleCallEntry(fqn="", signature=None)],
    )


def _lift(graph: fx.GraphModule, first: fx.Node) -> dict[str, tuple[fx.Node, Tensor]]:
    """Turn each weight into an input ahead of `first`. Returns their nodes and values by name."""
    mode = first.meta["val"].fake_mode
    lifted: dict[str, tuple[fx.Node, Tensor]] = {}
    for node in [n for n in graph.graph.nodes if n.op == "get_attr"]:
        name = str(node.target)
        if name not in lifted:
            value = getattr(graph, name)
            with graph.graph.inserting_before(first):
                place = graph.graph.placeholder(f"weight_{name}")
            place.meta["val"] = mode.from_tensor(value, static_shapes=True)
            lifted[name] = place, value
        node.replace_all_uses_with(lifted[name][0])
        graph.graph.erase_node(node)
    return lifted
