"""L-BFGS: the direction of a quasi-Newton step, from the gradients of the last steps.

Nocedal and Wright 2006 ("Numerical Optimization"), Algorithm 7.4, with the choices of the published
recipe's optimiser: no line search, the first move has a length of 1 in the sum of its absolute
values, and pairs of no curvature are left out.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

CURVATURE = 1e-10  # of a pair (s, y), at least: below it the estimate of the Hessian is no longer
# positive, and the direction could lead up


class Lbfgs:
    """Turns gradients, any shape, into moves of the same shape.

    Args:
        history: pairs that are kept; each costs twice the memory of a gradient.
        rate: factor of each move.
    """

    def __init__(self, history: int = 100, rate: float = 1.0) -> None:
        self._rate = rate
        self._pairs: deque[tuple[F32, F32, float]] = deque(maxlen=history)  # s, y, 1 / (s y)
        self._scale = 1.0  # of the first guess of the inverse Hessian
        self._gradient: F32 | None = None
        self._move: F32 | None = None

    def move(self, gradient: F32) -> F32:
        """Return what to add to the place where the gradient was taken.

        The caller makes that move, whole, before it takes the next gradient.
        """
        flat = np.ascontiguousarray(gradient, np.float32).ravel()
        if self._gradient is None or self._move is None:
            length = min(1.0, 1.0 / max(float(np.abs(flat).sum()), np.finfo(np.float32).tiny))
            move = -flat * np.float32(length * self._rate)
        else:
            self._learn(self._move, flat - self._gradient)
            move = self._direction(flat) * np.float32(self._rate)
        self._gradient, self._move = flat.copy(), move
        return move.reshape(gradient.shape)

    def _learn(self, step: F32, change: F32) -> None:
        """Keep a move and the change of the gradient along it; the oldest pair is dropped."""
        curvature = float(step @ change)
        if curvature > CURVATURE:
            self._pairs.append((step, change, 1 / curvature))
            self._scale = curvature / float(change @ change)

    def _direction(self, gradient: F32) -> F32:
        """The two loops of the recursion: minus the inverse Hessian's estimate, times gradient."""
        direction = -gradient
        parts = []
        for step, change, inverse in reversed(self._pairs):
            part = np.float32(inverse * float(step @ direction))
            direction -= part * change
            parts.append(part)
        direction *= np.float32(self._scale)
        for (step, change, inverse), part in zip(self._pairs, reversed(parts), strict=True):
            direction += (part - np.float32(inverse * float(change @ direction))) * step
        return direction
