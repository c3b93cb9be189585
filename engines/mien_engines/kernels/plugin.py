"""AdaIN as a quickly-deployable plugin of TensorRT: its PTX is baked into the engine.

From TensorRT 10.9 on a plugin may be a description in Python and a kernel in PTX, ahead of time;
engines then run without Python and without a library of ours. TensorRT-RTX has no such plugins.
A node mien::AdaIN carries a body of standard operators, which TensorRT takes unless the node names
the plugin: that is what `prepared` adds, in memory, just before parsing.

No part of this has run: it was checked against the Python half of TensorRT 11.4.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from types import GenericAlias, ModuleType
from typing import Any

from mien_engines.kernels import compiled, onnx_nodes
from mien_engines.kernels.launch import KIB, ceil_div
from mien_engines.kernels.normalise import LOADS, PLANE_THREADS, SCRATCH

NAMESPACE, NAME = "mien", "AdaIN"
ID = f"{NAMESPACE}::{NAME}"
SHARED = 48 * KIB  # what every launch may have without asking, as TensorRT's cannot
TYPES = {"FLOAT": ("f32", 4), "HALF": ("f16", 2), "BF16": ("bf16", 2)}  # of tensorrt.DataType
# All three inputs and the output are of one type, and lie in order.
COMBINATIONS = ", ".join(["FP32|FP16|BF16"] * 4)


def prepared(trt: ModuleType, model: bytes) -> bytes:
    """An ONNX model, as bytes, with the plugin named where this TensorRT has such plugins.

    Else the model as it is: the body of the node does the same work, slower. Give the parser the
    model's path too, where its weights lie beside it, and create the network with
    `network_flags(trt)`.
    """
    if not is_offered(trt):
        return model
    register(trt.__name__)
    return onnx_nodes.with_attributes(
        model, NAMESPACE, NAME, {"plugin_namespace": NAMESPACE, "aot": 1}
    )


def is_offered(trt: ModuleType) -> bool:
    """Whether this TensorRT has plugins ahead of time, by what is there and not by version."""
    return hasattr(trt, "QuickPluginCreationRequest") and _plugin_module(trt.__name__) is not None


def network_flags(trt: ModuleType) -> int:
    """What a network that holds the plugin is created with, beside its other flags."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "PREFER_AOT_PYTHON_PLUGINS", None)
    return 0 if flag is None or not is_offered(trt) else 1 << int(flag)


@cache
def register(library: str = "tensorrt") -> None:
    """Tell TensorRT of the plugin; once in a process."""
    trtp = _plugin_module(library)
    assert trtp is not None, "asked for without plugins"

    def describe(x: Any, gamma: Any, beta: Any) -> Any:
        return x.like()

    def combinations(x: Any, gamma: Any, beta: Any, outputs: Any) -> Any:
        return [trtp.AutoTuneCombination(COMBINATIONS, "LINEAR")]

    def kernel(x: Any, gamma: Any, beta: Any, outputs: Any, tactic: Any) -> Any:
        return _kernel(trtp, x)

    # TensorRT reads these types, and wants classes of its own.
    inputs = dict.fromkeys(("x", "gamma", "beta"), trtp.TensorDesc)
    returned = GenericAlias(tuple, (str, bytes, trtp.KernelLaunchParams, trtp.SymIntExprs))
    describe.__annotations__ = {**inputs, "return": trtp.TensorDesc}
    combinations.__annotations__ = {}
    kernel.__annotations__ = {"return": returned}
    _decorated(trtp.register, describe)
    _decorated(trtp.autotune, combinations)
    _decorated(trtp.aot_impl, kernel)


def _kernel(trtp: Any, x: Any) -> tuple[str, bytes, Any, Any]:
    """The kernel's name, its PTX, its launch, and the numbers between inputs and output."""
    suffix, size = TYPES[x.dtype.name]
    usual, most = _pixels(x)
    keep = min(most, (SHARED - SCRATCH) // size)
    n, c, h, w = (x.shape_expr[axis] for axis in range(4))
    launch = trtp.KernelLaunchParams()
    launch.grid_x = n * c  # a block a plane
    launch.block_x = _threads(usual, 16 // size)
    launch.shared_mem = SCRATCH + ceil_div(keep * size, 16) * 16
    extra = trtp.SymIntExprs(2)
    extra[0], extra[1] = trtp.SymInt32(h * w), trtp.SymInt32(keep)
    return f"adain_plugin_{suffix}", compiled.ptx("adain_nchw"), launch, extra


def _pixels(x: Any) -> tuple[int, int]:
    """Of a plane: as a rule, and at the most."""
    shape = x.shape
    usual, most = (shape.opt, shape.max) if shape.is_dynamic else (shape, shape)
    return usual[2] * usual[3], most[2] * most[3]


def _threads(pixels: int, pack: int) -> int:
    """As many as read a plane with LOADS loads each, in whole warps, a power of two."""
    wanted = ceil_div(pixels, pack * LOADS)
    return min(max(1 << (wanted - 1).bit_length(), 32), PLANE_THREADS)


def _decorated(decorator: Callable[[str], Any], function: Callable[..., Any]) -> None:
    decorator(ID)(function)


@cache
def _plugin_module(library: str) -> Any:
    try:
        return importlib.import_module(f"{library}.plugin")
    except ImportError:
        return None
