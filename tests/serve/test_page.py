"""The page's colours can be read: contrasts of WCAG 2.2, in light and in dark."""

from __future__ import annotations

import re

import pytest

from mien.serve.files import PAGE

TEXT, CONTROL = 4.5, 3.0  # criteria 1.4.3 and 1.4.11, level AA
PAIRS = [
    ("ink", "paper", 7.0),
    ("ink", "sheet", 7.0),
    ("ink", "tint", 7.0),
    ("soft", "paper", TEXT),
    ("soft", "sheet", TEXT),
    ("soft", "well", TEXT),
    ("soft", "tint", TEXT),
    ("on-accent", "accent", TEXT),
    ("accent", "paper", CONTROL),
    ("edge", "paper", CONTROL),
]


def colours(scheme: str) -> dict[str, str]:
    text = (PAGE / "css" / "base.css").read_text()
    light, dark = text.split("@media (prefers-color-scheme: dark)")[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))
    return found


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    levels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_black_on_white_has_the_contrast_of_the_standard() -> None:
    assert (luminance("#ffffff") + 0.05) / (luminance("#000000") + 0.05) == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_what_is_read_stands_out(scheme: str, front: str, back: str, least: float) -> None:
    found = colours(scheme)
    low, high = sorted(luminance(found[name]) for name in (front, back))
    assert (high + 0.05) / (low + 0.05) >= least
