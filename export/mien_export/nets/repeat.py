"""`repeat`: each pixel times x times, as one operator from torch to the engine.

torch decomposes its own nearest up-sampling into index arithmetic while tracing, which becomes
Gathers over 4-d views; as an operator of our own it becomes one ONNX Resize.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
from torch import Tensor


def repeat(x: Tensor, times: int) -> Tensor:
    """Repeat each pixel of x [N, C, H, W]: [N, C, times H, times W]."""
    result: Tensor = _Repeat.apply(x, times)  # type: ignore[no-untyped-call]
    return result


class _Repeat(torch.autograd.Function):
    """The operator with its gradient, in the form that torch.func.grad takes."""

    @staticmethod
    def forward(x: Tensor, times: int) -> Tensor:
        result: Tensor = torch.ops.mien.repeat(x, times)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.times = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """A pixel gets the sum of its copies' gradients."""
        return F.avg_pool2d(grad, ctx.times) * ctx.times**2, None


@torch.library.custom_op("mien::repeat", mutates_args=())
def _repeat(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(times), mode="nearest")


@_repeat.register_fake
def _(x: Tensor, times: int) -> Tensor:
    n, c, h, w = x.shape
    return x.new_empty(n, c, h * times, w * times)


def repeat_in_onnx(x: Any, times: int) -> Any:
    """Return the ONNX node of the operator."""
    scales = op.Constant(value_floats=[1.0, 1.0, float(times), float(times)])
    return op.Resize(
        x,
        None,
        scales,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.mien.repeat.default: repeat_in_onnx
}
