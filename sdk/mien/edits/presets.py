"""Settings by name: of projections, and of Gatys' style transfer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from mien.edits.gatys_settings import GATYS_PRESETS, GatysSettings
from mien.edits.settings import NoiseSettings, ProjectionSettings, Settings
from mien.errors import InputError

S = TypeVar("S")
T = TypeVar("T", Settings, GatysSettings)

# The published baseline, number for number. Its loop calls the optimiser before the gradient is
# there, so that 150 rounds take 149 steps. Its noise term is constant in w, and left out. The decay
# is that of the pipeline built on it, whose value is not published: 0.99 ends at a rate of 0.011.
FAITHFUL = ProjectionSettings(
    steps=149,
    rate=0.05,
    decay=0.99,
    perceptual=1.0,
    ms_ssim=0.5,
    pixel=0.0,
    prior=0.0,
    start="mean",
)

# NVlabs' projector, as published.
NVLABS = NoiseSettings()

# Measured with mien's own generator (docs/projection.md); the schedule and the weights were chosen
# on portraits of another set, and on 6 of the 30 of the table. On 8 of the former, after 36 steps,
# the best schedule without a warm-up had a perceptual term of 0.068, the best with one of 0.042.
FAST = ProjectionSettings(
    steps=35,
    rate=0.3,
    decay=0.965,
    warm_up=16,
    perceptual=1.0,
    ms_ssim=0.5,
    pixel=1.0,
    prior=0.1,
    start="auto",
)

PRESETS: Mapping[str, Settings] = {"faithful": FAITHFUL, "nvlabs": NVLABS, "fast": FAST}


def settings_of(settings: Settings | str | None, **changes: Any) -> Settings:
    """Return settings, those of a preset by its name, or the defaults; with changes.

    Raises InputError for a preset or a setting that does not exist.
    """
    return changed(named(settings or ProjectionSettings(), PRESETS), **changes)


def gatys_settings_of(settings: GatysSettings | str | None, **changes: Any) -> GatysSettings:
    """Do so for Gatys' style transfer."""
    return changed(named(settings or GatysSettings(), GATYS_PRESETS), **changes)


def named(settings: S | str, presets: Mapping[str, S]) -> S:
    """Return settings, or those of a preset by its name. Raises InputError."""
    if not isinstance(settings, str):
        return settings
    if settings not in presets:
        near = difflib.get_close_matches(settings, presets, 1)
        raise InputError(
            f"there is no preset {settings!r}",
            hint=f"Did you mean {near[0]}?" if near else f"There are {', '.join(presets)}",
        )
    return presets[settings]


def changed(settings: T, **changes: Any) -> T:
    """Return settings with changes. Raises InputError for a setting that does not exist."""
    known = [field.name for field in fields(settings)]
    for name in changes:
        if name not in known:
            raise InputError(f"these settings have no {name}", hint=f"They have {', '.join(known)}")
    return replace(settings, **changes)
