"""A module becomes an ONNX model: traced, exported, tidied, with named tensors and a free batch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx_ir.passes.common as passes
import onnxscript.optimizer
import torch
from onnx import ModelProto
from onnxscript import opset18 as op
from torch import Tensor, fx, nn

from mien_export.nets import adain, mirror, repeat, unpool
from mien_export.steps.trace import trace


def _squeezed(x: Any, dim: Sequence[int]) -> Any:
    return op.Squeeze(x, op.Constant(value_ints=list(dim)))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.squeeze.dims: _squeezed,  # which the exporter has no translation of
    **repeat.TRANSLATIONS,
    **mirror.TRANSLATIONS,
    **unpool.TRANSLATIONS,
}
OPSET = 18  # the exporter's own; others go through a converter that inlines functions
MOST_SAMPLES = 64  # bound of the dynamic batch that torch.export wants to know


def onnx_from_module(
    module: nn.Module,
    inputs: Sequence[Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str],
    shapes: Sequence[Sequence[int | str]] | None = None,
) -> ModelProto:
    """Export module; dimension 0 of every input of rank > 1 is the batch, and dynamic.

    inputs: examples, of batch 2 or more (1 would be taken for a constant). shapes: of the inputs,
    as their TensorSpecs have them; a dimension with a name is dynamic too, the only one of shape
    ("N",) included. Examples must be of another size in each such dimension, or two are taken for
    one.
    """
    free = _free_dimensions(inputs, shapes or [()] * len(inputs))
    with _quiet():
        graph = trace(module, inputs)
        exported = torch.export.export(graph, tuple(inputs), dynamic_shapes=free)
        if not _mutates(graph):
            # trace() has decomposed all. The exporter would do it again, in a third of the time,
            # which serves those graphs alone whose operators write into their inputs.
            exported.run_decompositions = lambda table=None: exported
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            custom_translation_table=TRANSLATIONS,
            verbose=False,
            # Its rewriter takes the addition of a number below 1e-8 for that of zero, and removes
            # the epsilons under our roots: black pixels gave NaN (tests/export/test_to_onnx.py).
            optimize=False,
        )
    assert program is not None
    onnxscript.optimizer.fold_constants(program.model, input_size_limit=FOLDED_LIMIT)
    passes.CommonSubexpressionEliminationPass()(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    passes.ClearMetadataAndDocStringPass()(program.model)
    model = program.model_proto
    if any(node.domain == adain.DOMAIN.domain for node in model.graph.node):
        # Added last: a translation that is a function itself would be inlined by the exporter.
        model.functions.append(adain.function())
    return model


def _mutates(graph: fx.GraphModule) -> bool:
    """Tell whether an operator writes into its input, as some decompositions do."""
    schemas = (getattr(node.target, "_schema", None) for node in graph.graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)


def _free_dimensions(
    inputs: Sequence[Tensor], shapes: Sequence[Sequence[int | str]]
) -> tuple[dict[int, Any], ...]:
    """Return the dynamic dimensions of each input, by their place."""
    batch = torch.export.Dim("N", min=1, max=MOST_SAMPLES)
    free: list[dict[int, Any]] = [
        {0: batch} if x.dim() > 1 or tuple(shape[:1]) == ("N",) else {}
        for x, shape in zip(inputs, shapes, strict=True)
    ]
    for dimensions, shape in zip(free, shapes, strict=True):
        for place, size in enumerate(shape):
            if isinstance(size, str) and place > 0:
                dimensions[place] = torch.export.Dim.DYNAMIC  # its bounds are the module's own
    return tuple(free)


FOLDED_LIMIT = 1024  # bytes: shapes and axes are folded, weights stay as they are stored


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's remarks about itself (torchvision missing, deprecations) from the user."""
    loggers = [logging.getLogger(n) for n in ("torch.onnx", "torch.onnx._internal.exporter")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
