"""mien: face style editing at inference speed.

    import mien

    studio = mien.Studio("demo")
    anna, mark = studio.align("anna.jpg"), studio.align("mark.jpg")
    mixed = mien.mix(studio.project(anna), studio.project(mark), layers="middle")
    studio.render(mixed).save("mixed.png")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien import bench, provenance, scale
    from mien.animation import Animation
    from mien.edits.catalogue import Catalogue, load_catalogue
    from mien.edits.directions import load_direction, move
    from mien.edits.express import express
    from mien.edits.expression import Expression, load_expression
    from mien.edits.gatys import Painting
    from mien.edits.gatys_settings import GatysSettings
    from mien.edits.latents import layer_range, mix
    from mien.edits.local import LocalEdit
    from mien.edits.locality import locality_map
    from mien.edits.lookalike import Lookalikes
    from mien.edits.presets import FAITHFUL, FAST, NVLABS
    from mien.edits.project import Projection
    from mien.edits.settings import NoiseSettings, ProjectionSettings
    from mien.edits.swap import Swap, SwapSettings
    from mien.edits.translate import FaceStyle
    from mien.errors import MienError
    from mien.images import Picture
    from mien.studio import Studio

__version__ = "0.1.0"

_HOMES = {
    "Animation": "mien.animation",
    "Catalogue": "mien.edits.catalogue",
    "Expression": "mien.edits.expression",
    "FAITHFUL": "mien.edits.presets",
    "FAST": "mien.edits.presets",
    "FaceStyle": "mien.edits.translate",
    "GatysSettings": "mien.edits.gatys_settings",
    "LocalEdit": "mien.edits.local",
    "Lookalikes": "mien.edits.lookalike",
    "MienError": "mien.errors",
    "NVLABS": "mien.edits.presets",
    "NoiseSettings": "mien.edits.settings",
    "Painting": "mien.edits.gatys",
    "Picture": "mien.images",
    "Projection": "mien.edits.project",
    "ProjectionSettings": "mien.edits.settings",
    "Studio": "mien.studio",
    "Swap": "mien.edits.swap",
    "SwapSettings": "mien.edits.swap",
    "express": "mien.edits.express",
    "layer_range": "mien.edits.latents",
    "load_catalogue": "mien.edits.catalogue",
    "load_direction": "mien.edits.directions",
    "load_expression": "mien.edits.expression",
    "locality_map": "mien.edits.locality",
    "mix": "mien.edits.latents",
    "move": "mien.edits.directions",
}

__all__ = [
    "FAITHFUL",
    "FAST",
    "NVLABS",
    "Animation",
    "Catalogue",
    "Expression",
    "FaceStyle",
    "GatysSettings",
    "LocalEdit",
    "Lookalikes",
    "MienError",
    "NoiseSettings",
    "Painting",
    "Picture",
    "Projection",
    "ProjectionSettings",
    "Studio",
    "Swap",
    "SwapSettings",
    "__version__",
    "bench",
    "express",
    "layer_range",
    "load_catalogue",
    "load_direction",
    "load_expression",
    "locality_map",
    "mix",
    "move",
    "provenance",
    "scale",
]


def __getattr__(name: str) -> Any:
    if name in ("bench", "provenance", "scale"):
        return importlib.import_module(f"mien.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
