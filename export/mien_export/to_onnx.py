"""A module becomes an ONNX model: traced, exported, tidied, with named tensors and a free batch."""

from __future__ import annotations

import contextlib
import functools
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
from torch import Tensor, nn
from torch.onnx._internal.exporter import _core, _registration  # of the one version we export with

from mien_export.nets import adain, mirror, repeat, unpool
from mien_export.program import program
from mien_export.steps.trace import trace


def _squeezed(x: Any, dim: Sequence[int]) -> Any:
    return op.Squeeze(x, op.Constant(value_ints=list(dim)))


def _numel(x: Any) -> Any:
    return op.Size(x)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    # Of these the exporter has no translation.
    torch.ops.aten.squeeze.dims: _squeezed,
    torch.ops.aten.sym_numel.default: _numel,
    **repeat.TRANSLATIONS,
    **mirror.TRANSLATIONS,
    **unpool.TRANSLATIONS,
}
OPSET = 18  # the exporter's own; others go through a converter that inlines functions


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
    free = [_free(x, shape) for x, shape in zip(inputs, shapes or [()] * len(inputs), strict=True)]
    with _quiet():
        exported = _core.export(
            program(trace(module, inputs, free)),
            registry=_registry(),
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            verbose=False,
            # Its rewriter takes the addition of a number below 1e-8 for that of zero, and removes
            # the epsilons under our roots: black pixels gave NaN (tests/export/test_graphs.py).
            optimize=False,
        )
    onnxscript.optimizer.fold_constants(exported.model, input_size_limit=FOLDED_LIMIT)
    passes.CommonSubexpressionEliminationPass()(exported.model)
    onnxscript.optimizer.remove_unused_nodes(exported.model)
    passes.ClearMetadataAndDocStringPass()(exported.model)
    model = exported.model_proto
    if any(node.domain == adain.DOMAIN.domain for node in model.graph.node):
        # Added last: a translation that is a function itself would be inlined by the exporter.
        model.functions.append(adain.function())
    return model


def _free(x: Tensor, shape: Sequence[int | str]) -> set[int]:
    """Return the dimensions of an input that stay dynamic: the batch, and those with a name."""
    batch = {0} if x.dim() > 1 or tuple(shape[:1]) == ("N",) else set()
    return batch | {place for place, size in enumerate(shape) if isinstance(size, str)}


@functools.cache
def _registry() -> _registration.ONNXRegistry:
    """The exporter's translations and ours; torch.onnx.export would collect them for each graph."""
    registry = _registration.ONNXRegistry.from_torchlib(OPSET)
    for operator, translation in TRANSLATIONS.items():
        registry.register_op(operator, translation)
    return registry


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
