"""A clock without sleep: time passes when a call says so."""

from __future__ import annotations

from collections.abc import Callable


class Virtual:
    """Starts at any moment; waiting is a jump."""

    def __init__(self, start: float = 123.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def wait_until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def taking(self, seconds: Callable[[], float]) -> Callable[[], Callable[[], None]]:
        """A contestant whose calls take so long."""

        def call() -> None:
            self.time += seconds()

        return lambda: call
