"""Trace a module into a flat graph whose weights are folded and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from mien_export.steps.gradient import rules

FEW = 4096  # elements of a tensor too small to care for


def trace(
    module: nn.Module, inputs: Sequence[Tensor], free: Sequence[Collection[int]]
) -> fx.GraphModule:
    """Return module's graph on inputs, of operators that write into none of theirs.

    free: of each input, the dimensions that stay dynamic; those that have one size in the examples
        are taken for one.
    """
    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)
    given = [
        _stand_in(mode, f"input_{i}", x, dimensions)
        for i, (x, dimensions) in enumerate(zip(inputs, free, strict=True))
    ]
    graph = _graph(lambda *args: module(*args), given)
    if _writes(graph):  # as the decompositions of some operators do
        graph = _graph(functionalize(graph, remove="mutations"), given)
    assert not shapes.replacements, f"sizes that the module fixes: {shapes.replacements}"
    _name_weights(graph, module)
    _fold(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


def _graph(function: Callable[..., Any], given: Sequence[Tensor]) -> fx.GraphModule:
    tracer = make_fx(function, decomposition_table=rules(), tracing_mode="symbolic")
    traced: fx.GraphModule = tracer(*given)
    return traced


def _writes(graph: fx.GraphModule) -> bool:
    """Tell whether an operator writes into its input."""
    schemas = (getattr(node.target, "_schema", None) for node in graph.graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)


def _stand_in(mode: FakeTensorMode, name: str, x: Tensor, free: Collection[int]) -> Tensor:
    """Return a tensor without values, whose free dimensions have symbols for sizes."""
    sizes = [DimDynamic.DUCK if d in free else DimDynamic.STATIC for d in range(x.dim())]
    context: Any = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(x, symbolic_context=context, source=ConstantSource(name))


def _name_weights(graph: fx.GraphModule, module: nn.Module) -> None:
    """Give captured tensors the names they have in the module."""
    names = {t.data_ptr(): n for n, t in [*module.named_parameters(), *module.named_buffers()]}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            tensor = getattr(graph, node.target)
            name = names.get(tensor.data_ptr(), node.target).replace(".", "__")
            _point_to(graph, node, name, tensor.detach())


def _fold(graph: fx.GraphModule) -> None:
    """Compute now what depends on weights alone and replaces its source, such as a gain.

    What would be stored beside its source (a kernel's energy, a flipped kernel) stays in the graph:
    every run time folds it when it opens the file, and the file holds each weight once.
    """
    uses = Counter(
        u for n in graph.graph.nodes if n.op == "get_attr" for u in [n.target] * len(n.users)
    )
    for node in list(graph.graph.nodes):
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or any(s.op != "get_attr" for s in sources):
            continue
        values = {s: getattr(graph, s.target) for s in sources}
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        value = node.target(*args, **kwargs)
        largest = max(values, key=lambda s: values[s].numel())
        replaces = uses[largest.target] == 1 and value.numel() <= values[largest].numel()
        if isinstance(value, Tensor) and (replaces or value.numel() <= FEW):
            with graph.graph.inserting_before(node):
                folded = graph.graph.create_node("get_attr", "folded")
            _point_to(graph, folded, _free_name(graph, str(largest.target)), value.contiguous())
            node.replace_all_uses_with(folded)
            graph.graph.erase_node(node)
            uses[folded.target] += len(folded.users)


def _free_name(graph: fx.GraphModule, origin: str) -> str:
    base = origin.partition("___")[0]
    return next(n for i in range(99) if not hasattr(graph, n := f"{base}___{i}"))


def _point_to(graph: fx.GraphModule, node: fx.Node, name: str, tensor: Tensor) -> None:
    if hasattr(graph, name):
        assert getattr(graph, name).data_ptr() == tensor.data_ptr(), f"two tensors named {name}"
    else:
        graph.register_buffer(name, tensor)
    node.target = name
