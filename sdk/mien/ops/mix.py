"""Two W+ codes mixed, each layer by a weight of its own: the arithmetic of `mien.mix`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.ops.dispatch import Impl, check, native, result, threads_from

F32 = NDArray[np.float32]


def mix(
    content: F32,  # [N, L, D]
    style: F32,  # [N, L, D], or N is 1 in either
    weight: F32,  # [L], of content
    *,
    out: F32 | None = None,
    impl: Impl = "auto",
    threads: int | None = None,
) -> F32:  # [N, L, D]
    """Return style + weight (content - style): 1 keeps content's bits, 0 takes style's.

    Both implementations round after each operation, so that they agree in every bit.

    Args:
        out: where the result goes, an array of its own.

    Raises:
        InputError: another dtype or shape, arrays with gaps.
        MissingDependency: impl is "native", which is not built.
    """
    content = check("content", content, (np.float32,), ("N", "L", "D"))
    n, layers, width = content.shape
    style = check("style", style, (np.float32,), ("N", layers, width))
    if n != len(style) and 1 not in (n, len(style)):
        raise InputError(f"there are {n} contents and {len(style)} styles, expected as many")
    weight = check("weight", weight, (np.float32,), (layers,))
    shape = (max(n, len(style)), layers, width)
    out = result(out, shape, np.float32, (content, style, weight))
    threads = threads_from(threads)
    if kernels := native(impl):
        kernels.mix(content, style, weight, out, threads)
    else:
        out[...] = _mix_ref(content, style, weight)
    return out


def _mix_ref(content: F32, style: F32, weight: F32) -> F32:
    weights = weight[:, None]  # [L, 1]
    # Rounded once where weights are 1, so that untouched layers keep their bits.
    return np.where(weights == 1, content, style + weights * (content - style))
