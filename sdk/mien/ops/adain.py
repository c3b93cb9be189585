"""Adaptive instance normalisation with what stands around it in a network, in one pass.

What the ONNX function `mien::AdaIN` computes, with the steps in front of and behind it that
StyleGAN1, StarGAN v2 and the look-alike decoder have.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.ops.dispatch import Impl, check, native, result, threads_from

F32 = NDArray[np.float32]
Layout = Literal["NCHW", "NHWC"]

EPS = 1e-5  # that of mien::AdaIN


def adain(
    x: NDArray[Any],  # [N, C, H, W] or [N, H, W, C]; float32 or float16
    gamma: F32,  # [N, C]
    beta: F32,  # [N, C]
    *,
    noise: F32 | None = None,  # [N, H, W] or [1, H, W]
    strength: F32 | None = None,  # [C], of the noise
    slope_before: float = 1.0,
    slope: float = 1.0,
    up: int = 1,
    layout: Layout = "NCHW",
    out: NDArray[Any] | None = None,
    impl: Impl = "auto",
    threads: int | None = None,
) -> NDArray[Any]:  # dtype and layout of x, H and W times up
    """Normalise each plane of x, scale it by gamma and shift it by beta.

        h = leaky(x + strength * noise, slope_before)
        y = leaky(gamma * (h - mean) / sqrt(var + 1e-5) + beta, slope)

    where mean and var are those of each plane of h, var biased (Huang and Belongie 2017, Eq. 8),
    and leaky(h, s) is h where it is positive, s * h elsewhere. Then every pixel is repeated `up`
    times in both directions. The compiled twin sums in float32, float16 too, about numbers near the
    mean, so that no mean and no size of a plane costs digits. A plane that holds NaN or infinity
    becomes NaN.

    StyleGAN1 has noise and slope_before=0.2; StarGAN v2 slope=0.2, and up=2 in front of a
    convolution. Networks that predict a scale near zero pass 1 + it as gamma.

    Args:
        slope_before, slope: between 0 (ReLU) and 1 (no activation).
        out: where the result goes, an array of its own; or x, where up is 1.
        threads: of the compiled twin; None means one for each physical core. Results do not
            depend on it.

    Raises:
        InputError: another dtype or shape, arrays with gaps, slopes outside 0 .. 1.
        MissingDependency: impl is "native", which is not built.
    """
    if layout not in ("NCHW", "NHWC"):
        raise InputError(f"layout is {layout!r}, expected NCHW or NHWC")
    x = check("x", x, (np.float32, np.float16), tuple(layout))
    n, c, h, w = x.shape if layout == "NCHW" else (x.shape[i] for i in (0, 3, 1, 2))
    gamma = check("gamma", gamma, (np.float32,), (n, c))
    beta = check("beta", beta, (np.float32,), (n, c))
    if (noise is None) != (strength is None):
        raise InputError("noise and strength go together", hint="Pass both, or neither")
    if noise is not None and strength is not None:
        shared = isinstance(noise, np.ndarray) and noise.shape[:1] == (1,)
        noise = check("noise", noise, (np.float32,), (1 if shared else n, h, w))
        strength = check("strength", strength, (np.float32,), (c,))
    for name, value in (("slope_before", slope_before), ("slope", slope)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}, expected 0 to 1")
    if up not in (1, 2):
        raise InputError(f"up is {up}, expected 1 or 2")
    shape = (n, c, up * h, up * w) if layout == "NCHW" else (n, up * h, up * w, c)
    inputs = (x, gamma, beta, noise, strength)
    out = result(out, shape, x.dtype.type, inputs, in_place=x if up == 1 else None)
    threads = threads_from(threads)
    if kernels := native(impl):
        kernels.adain(
            x, gamma, beta, noise, strength, slope_before, slope, up, layout == "NHWC", out, threads
        )
    else:
        out[...] = _adain_ref(x, gamma, beta, noise, strength, slope_before, slope, up, layout)
    return out


def _adain_ref(
    x: NDArray[Any],
    gamma: F32,
    beta: F32,
    noise: F32 | None,
    strength: F32 | None,
    slope_before: float,
    slope: float,
    up: int,
    layout: Layout,
) -> NDArray[Any]:
    planes = x.astype(np.float64)
    if layout == "NHWC":
        planes = planes.transpose(0, 3, 1, 2)  # [N, C, H, W]
    if noise is not None and strength is not None:
        planes = planes + strength[:, None, None] * noise[:, None].astype(np.float64)
    planes = _leaky(planes, slope_before)
    with np.errstate(invalid="ignore", over="ignore"):  # of planes with NaN; of float16's range
        centred = planes - planes.mean((2, 3), keepdims=True)
        variance = np.square(centred).mean((2, 3), keepdims=True)
        y = gamma[:, :, None, None] * (centred / np.sqrt(variance + EPS)) + beta[:, :, None, None]
        y = _leaky(y, slope).repeat(up, axis=2).repeat(up, axis=3)
        return (y.transpose(0, 2, 3, 1) if layout == "NHWC" else y).astype(x.dtype)


def _leaky(x: NDArray[np.float64], slope: float) -> NDArray[np.float64]:
    return np.where(x > 0, x, slope * x)
