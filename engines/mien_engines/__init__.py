"""The contract between export and run time, and who executes it.

    engine = mien_engines.open("ffhq-256")            # a bundle; the fastest backend that passes
    picture = engine.run("render", ws=ws)["picture"]  # uint8 RGB [N, H, W, 3]

Importing this loads no runtime; each is loaded by the first graph that it opens.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien_engines.building import BuildReport, PlanReport, adopt, build
    from mien_engines.bundle import Bundle, save_spec
    from mien_engines.choose import Choice
    from mien_engines.engine import Engine, open
    from mien_engines.exchange import DeviceArray
    from mien_engines.spec import BundleSpec, FileEntry, Gate, GraphSpec, Source, TensorSpec

_HOMES = {
    "BuildReport": "building",
    "PlanReport": "building",
    "adopt": "building",
    "build": "building",
    "DeviceArray": "exchange",
    "Bundle": "bundle",
    "save_spec": "bundle",
    "Choice": "choose",
    "Engine": "engine",
    "open": "engine",
    "BundleSpec": "spec",
    "FileEntry": "spec",
    "Gate": "spec",
    "GraphSpec": "spec",
    "Source": "spec",
    "TensorSpec": "spec",
}

__all__ = [
    "BuildReport",
    "Bundle",
    "BundleSpec",
    "Choice",
    "DeviceArray",
    "Engine",
    "FileEntry",
    "Gate",
    "GraphSpec",
    "PlanReport",
    "Source",
    "TensorSpec",
    "adopt",
    "build",
    "open",
    "save_spec",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
