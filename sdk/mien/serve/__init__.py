"""mien as a service: a studio page in the browser, and the HTTP API that it stands on.

    import mien
    from mien.serve import app

    served = app(mien.Studio("demo"), folder="jobs")  # an ASGI application

`mien serve` runs it. It needs the extra `serve`: pip install 'mien[serve]'.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mien.errors import MissingDependency

if TYPE_CHECKING:
    from mien.serve.application import app
    from mien.serve.limits import Limits
    from mien.serve.process import run

__all__ = ["Limits", "app", "run"]

_HOMES = {
    "Limits": "mien.serve.limits",
    "app": "mien.serve.application",
    "run": "mien.serve.process",
}
NEEDED = ("fastapi", "prometheus_client", "starlette", "uvicorn", "wsproto")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mien.serve' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        raise MissingDependency(
            f"mien serve needs {error.name}", hint="Install it: pip install 'mien[serve]'"
        ) from error
