"""`repeat`: each pixel times x times, as one operator from torch to the engine.

torch decomposes its own nearest up-sampling into index arithmetic while tracing, which becomes
Gathers over 4-d views; as an operator of our own it becomes one ONNX Resize.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op
from torch import Tensor


@torch.library.custom_op("mien::repeat", mutates_args=())
def repeat(x: Tensor, times: int) -> Tensor:
    """Repeat each pixel of x [N, C, H, W]: [N, C, times H, times W]."""
    return x.repeat_interleave(times, 2).repeat_interleave(times, 3)


@repeat.register_fake
def _(x: Tensor, times: int) -> Tensor:
    n, c, h, w = x.shape
    return x.new_empty(n, c, h * times, w * times)


def _repeat_in_onnx(x: Any, times: int) -> Any:
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
    torch.ops.mien.repeat.default: _repeat_in_onnx
}
