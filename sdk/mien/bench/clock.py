"""Whose seconds are counted: those of the machine, or of a test that needs no sleep."""

from __future__ import annotations

import time
from typing import Protocol

SPIN_S = 2e-4  # a sleep may end so much late; the rest of a wait is spent looking at the clock


class Clock(Protocol):
    """Seconds that only grow, from any beginning."""

    def now(self) -> float: ...

    def wait_until(self, moment: float) -> None:
        """Return at a moment, or at once where it has passed."""
        ...


class Machine:
    """The monotonic clock of this machine."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        left = moment - time.perf_counter()
        if left > SPIN_S:
            time.sleep(left - SPIN_S)
        while time.perf_counter() < moment:
            pass
