"""`mirror`: an image with its edge mirrored around it, as one operator from torch to the engine.

torch decomposes its own reflection into a gather of each pixel while tracing; as an operator of
our own it becomes one ONNX Pad, and its gradient a sum of slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
from torch import Tensor


def mirror(x: Tensor) -> Tensor:
    """Mirror x [N, C, H, W] by one pixel on each side: [N, C, H+2, W+2]; H and W at least 2."""
    result: Tensor = _Mirror.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Mirror(torch.autograd.Function):
    """The operator with its gradient, in the form that torch.func.grad takes."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        result: Tensor = torch.ops.mien.mirror(x)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing of the image is needed."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        result: Tensor = _Unmirror.apply(grad)  # type: ignore[no-untyped-call]
        return result


class _Unmirror(torch.autograd.Function):
    """The gradient, an operator too: traced by itself it is a page of arithmetic of sizes."""

    @staticmethod
    def forward(grad: Tensor) -> Tensor:
        result: Tensor = torch.ops.mien.unmirror(grad)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing of the gradient is needed."""

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Tensor:
        return mirror(x)


@torch.library.custom_op("mien::mirror", mutates_args=())
def _mirror(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


@_mirror.register_fake
def _(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.new_empty(n, c, h + 2, w + 2)


def _mirror_in_onnx(x: Any) -> Any:
    sides = op.Constant(value_ints=[0, 0, 1, 1, 0, 0, 1, 1])
    return op.Pad(x, sides, mode="reflect")


@torch.library.custom_op("mien::unmirror", mutates_args=())
def _unmirror(grad: Tensor) -> Tensor:  # [N, C, H + 2, W + 2] -> [N, C, H, W]
    """The edge is a copy of the second row, and column: it gets their gradients as well."""
    rows = _folded(grad)
    return _folded(rows.transpose(2, 3)).transpose(2, 3).contiguous()


def _folded(grad: Tensor) -> Tensor:  # [N, C, H + 2, W] -> [N, C, H, W]
    inner, height = grad[:, :, 1:-1].clone(), grad.shape[2] - 2
    inner[:, :, min(1, height - 1)] += grad[:, :, 0]
    inner[:, :, max(0, height - 2)] += grad[:, :, -1]
    return inner


@_unmirror.register_fake
def _(grad: Tensor) -> Tensor:
    n, c, h, w = grad.shape
    return grad.new_empty(n, c, h - 2, w - 2)


def _unmirror_in_onnx(grad: Any) -> Any:
    return _folded_in_onnx(_folded_in_onnx(grad, 2), 3)


def _folded_in_onnx(grad: Any, axis: int) -> Any:
    """Add the first and the last line to those that they were copied from."""

    def cut(first: int, last: int) -> Any:
        ends = (op.Constant(value_ints=[i]) for i in (first, last, axis))
        return op.Slice(grad, *ends)

    inner, place = cut(1, -1), 2 if axis == 2 else 3
    length = op.Shape(inner, start=place, end=place + 1)
    one, rest = op.Constant(value_ints=[1]), length - op.Constant(value_ints=[2])
    along = op.Constant(value_ints=[axis])
    above = op.Pad(cut(0, 1), op.Concat(one, rest, axis=0), None, along)
    below = op.Pad(cut(-1, 1 << 62), op.Concat(rest, one, axis=0), None, along)
    return inner + above + below


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.mien.mirror.default: _mirror_in_onnx,
    torch.ops.mien.unmirror.default: _unmirror_in_onnx,
}
