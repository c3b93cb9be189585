"""L-BFGS: the direction of a quasi-Newton step, from the gradients of the last steps.

Nocedal and Wright 2006 ("Numerical Optimization"), Algorithm 7.4, with the choices of the published
recipe's optimiser: no line search, the first move has a length of 1 in the sum of its absolute
values, and pairs of no curvature are left out.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

# Of a pair (s, y), at least: below it the estimate of the Hessian would no longer be positive, and
# the direction could lead up.
CURVATURE = 1e-10


class Lbfgs:
    """Turns gradients into moves of the same shape and precision.

    Args:
        history: pairs that are kept; each costs twice the memory of a gradient.
        rate: factor of each move.
    """

    def __init__(self, history: int = 100, rate: float = 1.0) -> None:
        self._rate = rate
        self._pairs: deque[tuple[NDArray[Any], NDArray[Any], float]] = deque(maxlen=history)
        self._scale = 1.0  # of the first guess of the inverse Hessian
        self._gradient: NDArray[Any] | None = None
        self._move: NDArray[Any] | None = None

    def move(self, gradient: NDArray[Float]) -> NDArray[Float]:
        """Return what to add to the place where the gradient was taken.

        The caller makes that move, whole, before it takes the next gradient. A gradient that is too
        large for its precision may give a move that is not finite.
        """
        flat = gradient.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            if self._gradient is None or self._move is None:
                length = float(np.abs(flat).sum())
                move = -flat * (self._rate / max(length, 1.0))
            else:
                self._learn(self._move, flat - self._gradient)
                move = self._direction(flat) * self._rate
        self._gradient, self._move = flat.copy(), move
        return move.reshape(gradient.shape)

    def _learn(self, step: NDArray[Float], change: NDArray[Float]) -> None:
        """Keep a move and the change of the gradient along it; the oldest pair is dropped."""
        curvature = float(step @ change)
        if curvature > CURVATURE:
            self._pairs.append((step, change, 1 / curvature))
            self._scale = curvature / float(change @ change)

    def _direction(self, gradient: NDArray[Float]) -> NDArray[Float]:
        """The two loops of the recursion: minus the inverse Hessian's estimate, times gradient."""
        direction = -gradient
        parts = []
        for step, change, inverse in reversed(self._pairs):
            parts.append(inverse * float(step @ direction))
            direction -= parts[-1] * change
        direction *= self._scale
        for (step, change, inverse), part in zip(self._pairs, reversed(parts), strict=True):
            direction += (part - inverse * float(change @ direction)) * step
        return direction
