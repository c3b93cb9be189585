"""mien: face style editing at inference speed.

    import mien

    studio = mien.Studio("demo")
    anna, mark = studio.align("anna.jpg"), studio.align("mark.jpg")
    mixed = mien.mix(studio.project(anna), studio.project(mark), layers="fine")
    studio.render(mixed).save("mixed.png")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.edits.latents import layer_range, mix
    from mien.edits.presets import FAITHFUL, FAST, NVLABS
    from mien.edits.project import Projection
    from mien.edits.settings import NoiseSettings, ProjectionSettings
    from mien.errors import MienError
    from mien.images import Picture
    from mien.studio import Studio

__version__ = "0.1.0"

_HOMES = {
    "FAITHFUL": "mien.edits.presets",
    "FAST": "mien.edits.presets",
    "NVLABS": "mien.edits.presets",
    "MienError": "mien.errors",
    "NoiseSettings": "mien.edits.settings",
    "Picture": "mien.images",
    "Projection": "mien.edits.project",
    "ProjectionSettings": "mien.edits.settings",
    "Studio": "mien.studio",
    "layer_range": "mien.edits.latents",
    "mix": "mien.edits.latents",
}

__all__ = [
    "FAITHFUL",
    "FAST",
    "NVLABS",
    "MienError",
    "NoiseSettings",
    "Picture",
    "Projection",
    "ProjectionSettings",
    "Studio",
    "__version__",
    "layer_range",
    "mix",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
