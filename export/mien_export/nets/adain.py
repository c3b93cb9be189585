"""Adaptive instance normalisation: one node, `mien::AdaIN`, from torch to the engine.

The node carries a body of standard operators, which every run time can compute; one that has a
fused kernel replaces the node by its name.
"""

from __future__ import annotations

import torch
from onnx import FunctionProto
from onnxscript import opset18 as op
from onnxscript import script
from onnxscript.values import Opset
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

EPS = 1e-5  # of every network that uses it
DOMAIN = Opset("mien", 1)


def adain(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each plane of x [N, C, H, W]; scale by gamma, shift by beta, [N, C] each.

    y = gamma * (x - mean) / sqrt(var + 1e-5) + beta, statistics over H and W, var biased
    (Huang and Belongie 2017, Eq. 8). Networks that predict a scale near zero pass 1 + it.
    """
    if get_proxy_mode() is None:
        return _formula(x, gamma, beta)
    result: Tensor = torch.onnx.ops.symbolic(
        "mien::AdaIN", (x, gamma, beta), dtype=x.dtype, shape=x.shape, version=1
    )
    return result


def _formula(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    scale = gamma.unsqueeze(2).unsqueeze(3) * torch.rsqrt(variance + EPS)
    return (x - mean) * scale + beta.unsqueeze(2).unsqueeze(3)


@script(DOMAIN)
def AdaIN(x, gamma, beta):  # type: ignore[no-untyped-def]
    """x [N, C, H, W], gamma [N, C], beta [N, C] -> [N, C, H, W]."""
    planes = op.Constant(value_ints=[2, 3])
    centred = x - op.ReduceMean(x, planes, keepdims=1)
    variance = op.ReduceMean(centred * centred, planes, keepdims=1)
    epsilon = op.CastLike(op.Constant(value_float=1e-5), x)
    scale = op.Unsqueeze(gamma, planes) / op.Sqrt(variance + epsilon)
    return centred * scale + op.Unsqueeze(beta, planes)


def function() -> FunctionProto:
    """The body of the node."""
    body: FunctionProto = AdaIN.to_function_proto()
    return body
