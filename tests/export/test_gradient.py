"""The backward rules against autograd, through the whole way to ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.mirror import mirror
from mien_export.nets.repeat import repeat
from mien_export.to_onnx import onnx_from_module


class GradientOf(nn.Module):
    """x -> the gradient of the sum of squares of net(x)."""

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        gradient: Tensor = torch.func.grad(lambda x: self.net(x).square().sum())(x)
        return gradient


def convolution(c_in: int, c_out: int, k: int, **settings: int) -> nn.Module:
    torch.manual_seed(k + c_out)
    return nn.Conv2d(c_in, c_out, k, **settings).requires_grad_(False)


def transposed(c_in: int, c_out: int, k: int, **settings: int) -> nn.Module:
    torch.manual_seed(k + c_out)
    return nn.ConvTranspose2d(c_in, c_out, k, **settings).requires_grad_(False)


NETS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": convolution(4, 7, 3, padding=1),
    "convolution 1x1": convolution(4, 5, 1),
    "convolution without padding": convolution(4, 5, 3),
    "depthwise convolution": convolution(4, 4, 4, padding=1, groups=4),
    "strided convolution": convolution(4, 6, 4, stride=2, padding=1),
    "strided convolution, rest": convolution(4, 6, 3, stride=2, padding=1),
    "dilated convolution": convolution(4, 6, 3, padding=2, dilation=2),
    "transposed convolution": transposed(4, 6, 3, stride=2),
    "depthwise transposed": transposed(4, 4, 4, stride=2, padding=1, groups=4),
    "max pooling behind a ReLU": lambda x: F.max_pool2d(F.relu(x), 2),
    "average pooling": lambda x: F.avg_pool2d(x, 2),
    "average pooling, four": lambda x: F.avg_pool2d(x, 4),
    "nearest up-sampling": lambda x: repeat(x, 2).tanh(),
    "mirrored edge": lambda x: mirror(x).tanh(),
    "leaky ReLU": lambda x: F.leaky_relu(x, 0.2),
    "norm of channels": lambda x: x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-10),
    "power of a clamp": lambda x: x.clamp(min=1e-6) ** 0.3,
}


@pytest.mark.parametrize("name", NETS)
def test_gradient_in_onnx_is_that_of_autograd(name: str) -> None:
    net = NETS[name]
    model = onnx_from_module(GradientOf(net), [torch.randn(2, 4, 16, 12)], ["x"], ["gradient"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (1, 3):
        x = torch.randn(batch, 4, 16, 12, generator=torch.Generator().manual_seed(batch))
        leaf = x.clone().requires_grad_(True)
        net(leaf).square().sum().backward()
        assert leaf.grad is not None
        (found,) = session.run(None, {"x": x.numpy()})
        scale = float(leaf.grad.abs().max())
        np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=0, atol=2e-5 * scale)


def test_small_epsilons_survive_the_export() -> None:
    """torch's own optimiser takes + 1e-10 for + 0, and the root of black becomes infinite."""
    net = NETS["norm of channels"]
    model = onnx_from_module(Wrapped(net), [torch.randn(2, 4, 8, 8)], ["x"], ["y"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": np.zeros((1, 4, 8, 8), np.float32)})
    np.testing.assert_array_equal(found, 0)


class Wrapped(nn.Module):
    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_no_operator_is_left_that_tensorrt_refuses() -> None:
    model = onnx_from_module(
        GradientOf(NETS["max pooling behind a ReLU"]), [torch.randn(2, 4, 16, 12)], ["x"], ["g"]
    )
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"ScatterElements", "ScatterND", "GatherND", "MaxUnpool"}
    assert all(len(n.output) == 1 for n in model.graph.node if n.op_type == "MaxPool")
