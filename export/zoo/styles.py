"""Draw the style pictures that come with mien: patterns of its own, so that they may ship.

    python -m zoo.styles

Each is a function of a seed and a palette, 384 px, uint8 RGB; no picture of anyone's is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.images import save

FOLDER = Path(__file__).parents[2] / "sdk" / "mien" / "zoo" / "styles"
SIDE, QUALITY = 384, 2  # px; drawn QUALITY times larger, then scaled down
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Palette = tuple[tuple[int, int, int], ...]

SUNSET = ((20, 24, 62), (92, 36, 98), (196, 62, 86), (242, 134, 70), (252, 214, 120))
NIGHT = ((10, 22, 60), (24, 58, 126), (58, 118, 178), (238, 204, 90), (250, 242, 200))
GARDEN = ((22, 70, 62), (60, 132, 84), (150, 188, 90), (232, 212, 116), (206, 84, 62))
INK = ((244, 238, 224), (228, 214, 190), (176, 60, 48), (40, 44, 58), (20, 22, 30))


def _smooth_noise(random: np.random.Generator, side: int, cells: float) -> F32:
    """Noise in 0..1 whose bumps are side / cells px wide."""
    coarse = random.random((int(cells) + 3, int(cells) + 3)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def _coloured(levels: F32, palette: Palette) -> U8:
    """Map levels 0..1 [H, W] along a palette."""
    table = np.array(palette, np.float32)
    position = levels.clip(0, 1) * (len(table) - 1)
    low = np.minimum(position.astype(int), len(table) - 2)
    part = (position - low)[..., None]
    return (table[low] * (1 - part) + table[low + 1] * part).round().astype(np.uint8)


def mosaic(random: np.random.Generator, side: int, palette: Palette) -> U8:
    """Tiles around random points, with dark joints."""
    count = 900
    points = (random.random((count, 2)) * side).astype(np.float32)
    division = cv2.Subdiv2D((0, 0, side, side))
    division.insert([(float(x), float(y)) for x, y in points])
    facets, centres = division.getVoronoiFacetList([])
    field = _smooth_noise(random, side, 4)
    picture = np.zeros((side, side, 3), np.uint8)
    for facet, (x, y) in zip(facets, centres, strict=True):
        level = field[int(min(y, side - 1)), int(min(x, side - 1))] + random.normal(0, 0.12)
        colour = _coloured(np.array([[level]], np.float32), palette)[0, 0]
        outline = np.round(facet).astype(np.int32)
        cv2.fillConvexPoly(picture, outline, [int(c) for c in colour], cv2.LINE_AA)
        cv2.polylines(picture, [outline], True, (24, 26, 30), 4, cv2.LINE_AA)
    return picture


def strokes(random: np.random.Generator, side: int, palette: Palette) -> U8:
    """Short thick brush strokes along a swirling field."""
    angle = _smooth_noise(random, side, 3) * 4 * np.pi
    level = _smooth_noise(random, side, 4)
    picture = _coloured(level * 0.6, palette)
    for _ in range(9000):
        x, y = random.random(2) * side
        shade = level[int(y), int(x)] + random.normal(0, 0.14)
        colour = [int(c) for c in _coloured(np.array([[shade]], np.float32), palette)[0, 0]]
        path = [(x, y)]
        for _ in range(7):
            turn = angle[int(np.clip(y, 0, side - 1)), int(np.clip(x, 0, side - 1))]
            x, y = x + 5 * np.cos(turn), y + 5 * np.sin(turn)
            path.append((x, y))
        line = np.round(path).astype(np.int32)
        cv2.polylines(picture, [line], False, colour, int(random.integers(3, 7)), cv2.LINE_AA)
    return picture


def waves(random: np.random.Generator, side: int, palette: Palette) -> U8:
    """Bands of colour between wavy lines."""
    height = _smooth_noise(random, side, 3) + 0.25 * _smooth_noise(random, side, 9)
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    phase = (height * 1.2 + rows * 1.4) * 12
    band = np.floor(phase)
    picture = _coloured((band * 0.37 % 1).astype(np.float32), palette)
    edge = np.abs(phase - band - 0.5) > 0.44
    picture[edge] = palette[0]
    return picture


def print_dots(random: np.random.Generator, side: int, palette: Palette) -> U8:
    """Flat shapes, halftone dots and ink outlines, as a cheap poster has them."""
    level = _smooth_noise(random, side, 4)
    steps = np.floor(level * 4.99) / 4
    picture = _coloured(steps.astype(np.float32), palette)
    pitch = 14
    rows, columns = np.mgrid[0:side, 0:side]
    u, v = (rows + columns) / pitch, (rows - columns) / pitch
    distance = np.hypot(u - np.round(u), v - np.round(v))
    dots = (distance < 0.42 * level) & (steps < 0.6)
    picture[dots] = palette[2]
    edges = cv2.Canny((steps * 255).astype(np.uint8), 20, 60)
    picture[cv2.dilate(edges, np.ones((5, 5), np.uint8)) > 0] = palette[-1]
    return picture


Pattern = Callable[[np.random.Generator, int, Palette], U8]

STYLES: dict[str, tuple[Pattern, Palette]] = {
    "mosaic": (mosaic, GARDEN),
    "strokes": (strokes, NIGHT),
    "waves": (waves, SUNSET),
    "print": (print_dots, INK),
}
SEED = 7


def draw(name: str) -> U8:
    """Draw a style, uint8 RGB [384, 384, 3]."""
    pattern, palette = STYLES[name]
    return _scaled(pattern(np.random.default_rng(SEED), SIDE * QUALITY, palette), SIDE)


def draw_any(random: np.random.Generator, side: int) -> U8:
    """Draw a pattern in random colours, uint8 RGB [side, side, 3]: other than those that ship."""
    pattern, _ = list(STYLES.values())[random.integers(len(STYLES))]
    tones = cv2.cvtColor(random.integers(0, 256, (1, 5, 3)).astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    dark_first = tones[tones.sum(1, dtype=int).argsort()]
    palette = tuple((int(r), int(g), int(b)) for r, g, b in dark_first)
    return _scaled(pattern(random, side * QUALITY, palette), side)


def _scaled(large: U8, side: int) -> U8:
    small = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in STYLES:
        save(draw(name), FOLDER / f"{name}.jpg", edits=["drawn"])


if __name__ == "__main__":
    main()
