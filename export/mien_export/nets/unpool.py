"""`unpool`: the gradient of a max pooling, as one operator from torch to the engine.

By comparison with the largest of each tile, since TensorRT's parser takes no MaxPool indices. Ties
share the gradient, where torch gives it to the first. Behind a ReLU ties have probability zero
except among zeros, where the ReLU's own gradient is zero.

A pooling drops an odd last row or column, whose gradient is zero. torch would trace one of the two
cases, that there is one or not; here one ONNX Pad serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
from torch import Tensor

from mien_export.nets.repeat import repeat_in_onnx


def unpool(grad: Tensor, x: Tensor, size: int) -> Tensor:
    """Hand grad [N, C, H // size, W // size] to the largest of each tile of x [N, C, H, W].

    The example that is traced decides: of sides that are whole tiles, it gives a graph for such
    sides alone, of others a graph for all.
    """
    whole = not (x.shape[2] % size or x.shape[3] % size)
    result: Tensor = torch.ops.mien.unpool(grad, x, F.max_pool2d(x, size), size, whole)
    return result


@torch.library.custom_op("mien::unpool", mutates_args=())
def _unpool(grad: Tensor, x: Tensor, pooled: Tensor, size: int, whole: bool) -> Tensor:
    below, right = (x.shape[i] - size * grad.shape[i] for i in (2, 3))

    def spread(small: Tensor) -> Tensor:
        large = F.interpolate(small, scale_factor=float(size), mode="nearest")
        return F.pad(large, (0, right, 0, below))

    return torch.where(x == spread(pooled), spread(grad), 0.0)


@_unpool.register_fake
def _(grad: Tensor, x: Tensor, pooled: Tensor, size: int, whole: bool) -> Tensor:
    return torch.empty_like(x)


def _unpool_in_onnx(grad: Any, x: Any, pooled: Any, size: int, whole: bool) -> Any:
    largest, shares = repeat_in_onnx(pooled, size), repeat_in_onnx(grad, size)
    if not whole:
        missing = op.Shape(x, start=2) - op.Shape(largest, start=2)
        pads = op.Concat(op.Constant(value_ints=[0, 0, 0, 0, 0, 0]), missing, axis=0)
        largest, shares = op.Pad(largest, pads), op.Pad(shares, pads)
    return op.Where(op.Equal(x, largest), shares, op.Constant(value_float=0.0))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.mien.unpool.default: _unpool_in_onnx
}
