"""The backends. To add one, write its file and name it here; nothing is imported before its use."""

from __future__ import annotations

import importlib
from functools import cache

from mien_engines.backends.base import Backend
from mien_engines.errors import BackendUnavailable

LISTING = {
    "ort": "ort:Ort",
    "ort-cuda": "ort:OrtCuda",
    "ov": "ov:Ov",
    "ov-bf16": "ov:OvBf16",
    "trt": "trt:Trt",
    "trt-fp16": "trt:TrtFp16",
    "trt-bf16": "trt:TrtBf16",
    "rtx": "trt:Rtx",
    "rtx-fp16": "trt:RtxFp16",
    "rtx-bf16": "trt:RtxBf16",
}

REFERENCE = "ort"  # what the others have to agree with


@cache
def get(name: str) -> Backend:
    """The backend of that name, which may still be unavailable: ask its `probe`."""
    if name not in LISTING:
        raise BackendUnavailable(
            f"there is no backend {name!r}", hint=f"There are: {', '.join(LISTING)}"
        )
    module, _, attribute = LISTING[name].partition(":")
    backend: Backend = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)()
    return backend
