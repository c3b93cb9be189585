"""What OpenVINO makes of the functions of domain `mien`, whose bodies its ONNX reader ignores."""

from __future__ import annotations

from typing import Any

import numpy as np

EPS = 1e-5


def extensions() -> list[Any]:
    """One conversion a function; an OpenVINO core takes them."""
    from openvino.frontend.onnx import ConversionExtension

    return [ConversionExtension("AdaIN", "mien", _adain)]


def _adain(node: Any) -> Any:
    """(x [N, C, H, W], gamma [N, C], beta [N, C]): OpenVINO's own kernel takes the statistics."""
    from openvino import opset8 as op

    x, gamma, beta = (node.get_input(i) for i in range(3))
    planes = op.constant(np.array([2, 3], np.int64))
    normal = op.mvn(x, planes, True, EPS, "inside_sqrt")
    return (normal * op.unsqueeze(gamma, planes) + op.unsqueeze(beta, planes)).outputs()
