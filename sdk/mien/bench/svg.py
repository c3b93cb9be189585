"""A small plot as inline SVG: two axes, lines, points, steps. Colours are classes of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

WIDTH, HEIGHT = 660, 300  # px, before the page scales it
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
COLOURS = 8  # classes c0 to c7
TICKS = 6  # about so many on a linear axis

Scale = Literal["linear", "log"]


@dataclass
class Axis:
    """An axis in the units of its values."""

    low: float
    high: float
    title: str
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        if self.high <= self.low:
            self.high = self.low * 1.1 + (self.low == 0)

    def part(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high end; beyond them is cut off."""
        low, high = self._measure(self.low), self._measure(self.high)
        return min(max((self._measure(max(value, self.low)) - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        if self.scale == "log":
            return _decades(self.low, self.high)
        step = _round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.scale == "log" else value


@dataclass
class Plot:
    """A plot; `svg()` draws it. label: what a reader who does not see it is told."""

    x: Axis
    y: Axis
    label: str
    parts: list[str] = field(default_factory=list)

    def line(
        self, points: Sequence[tuple[float, float]], colour: int | str, dash: str = ""
    ) -> None:
        """Join points by straight lines."""
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(self._at, points))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline class="line {_class(colour)}" points="{path}"{dashed}/>')

    def steps(self, points: Sequence[tuple[float, float]], colour: int) -> None:
        """Join points by steps: each value holds until the next x."""
        corners = [points[0]] + [
            corner for (_, before), (x, y) in pairwise(points) for corner in ((x, before), (x, y))
        ]
        self.line(corners, colour)

    def dots(
        self, points: Sequence[tuple[float, float]], colour: int | str, size: float = 3
    ) -> None:
        for a, b in map(self._at, points):
            self.parts.append(
                f'<circle class="dot {_class(colour)}" cx="{a:.1f}" cy="{b:.1f}" r="{size}"/>'
            )

    def mark(self, x: float, colour: int | str) -> None:
        """A short tick that rises from the horizontal axis."""
        a, b = self._at((x, self.y.low))
        self.parts.append(f'<path class="line {_class(colour)}" d="M{a:.1f} {b:.1f}v-10"/>')

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", dx: float = 0, dy: float = 0
    ) -> None:
        a, b = self._at((x, y))
        self._text(a + dx, b + dy, words, anchor)

    def svg(self) -> str:
        """The plot as an SVG element."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        inside, self.parts = self.parts, []
        for value in self.x.ticks():
            a, _ = self._at((value, self.y.low))
            self.parts.append(f'<path class="grid" d="M{a:.1f} {TOP}V{bottom}"/>')
            self._text(a, bottom + 16, number(value), "middle")
        for value in self.y.ticks():
            _, b = self._at((self.x.low, value))
            self.parts.append(f'<path class="grid" d="M{LEFT} {b:.1f}H{right}"/>')
            self._text(LEFT - 6, b + 4, number(value), "end")
        self._text((LEFT + right) / 2, HEIGHT - 8, self.x.title, "middle")
        middle = (TOP + bottom) / 2
        self.parts.append(
            f'<text x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{html.escape(self.y.title)}</text>'
        )
        axes = f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{html.escape(self.label, quote=True)}">'
            + "".join([*self.parts, axes, *inside])
            + "</svg>"
        )

    def _at(self, point: tuple[float, float]) -> tuple[float, float]:
        across, up = self.x.part(point[0]), self.y.part(point[1])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def _text(self, x: float, y: float, words: str, anchor: str) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'
        )


def number(value: float) -> str:
    """A number as short as it can be: 0.5, 20, 1k, 2M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _class(colour: int | str) -> str:
    return f"c{colour % COLOURS}" if isinstance(colour, int) else colour


def _decades(low: float, high: float) -> list[float]:
    """Round numbers: the fewer decades there are, the more of each."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    span = math.log10(high / low)
    digits = (1, 1.5, 2, 3, 4, 5, 6, 8) if span < 1 else (1, 2, 5) if span <= 3 else (1,)
    found = [d * 10.0**e for e in range(first, last + 1) for d in digits]
    return [value for value in found if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)]


def _round_step(least: float) -> float:
    """The next of 1, 2, 5 times a power of 10."""
    scale = 10.0 ** math.floor(math.log10(least))
    return next(d * scale for d in (1, 2, 5, 10) if d * scale >= least * (1 - 1e-9))
