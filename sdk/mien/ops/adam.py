"""Adam's step over codes with a table of learning rates: the definition of the CUDA kernel.

The step graphs of a bundle hold the same update (`mien_export.steps.latent`). This one serves loops
whose gradient comes from an engine and whose state stays on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.ops.dispatch import check

F32 = NDArray[np.float32]

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, Algorithm 1


def adam(
    ws: F32,  # of any shape, as are m, v and the gradient
    m: F32,
    v: F32,
    gradient: F32,
    *,
    rates: F32,  # [steps]
    t: int,  # steps already taken
) -> tuple[F32, F32, F32]:  # ws, m, v after the step
    """One step of Adam (Kingma and Ba 2015, Algorithm 1), computed in float64.

    The learning rate is rates[t], beyond the end of the table its last one: warm-ups, ramps and
    decays of any kind are tables.

    Raises InputError for another dtype or shape, and for a negative t.
    """
    shape = np.shape(ws)
    arrays = {"ws": ws, "m": m, "v": v, "gradient": gradient}
    for name, array in arrays.items():
        check(name, array, (np.float32,), shape)
    rates = check("rates", rates, (np.float32,), ("steps",))
    if t < 0:
        raise InputError(f"t is {t}, expected 0 or more")
    w, m1, m2, g = (array.astype(np.float64) for array in arrays.values())
    m1 = BETA1 * m1 + (1 - BETA1) * g
    m2 = BETA2 * m2 + (1 - BETA2) * g * g
    unbiased: Any = m1 / (1 - BETA1 ** (t + 1)), m2 / (1 - BETA2 ** (t + 1))
    w -= float(rates[min(t, len(rates) - 1)]) * unbiased[0] / (np.sqrt(unbiased[1]) + EPS)
    return w.astype(np.float32), m1.astype(np.float32), m2.astype(np.float32)
