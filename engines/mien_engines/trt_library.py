"""Which TensorRT there is. One set of names serves TensorRT 10.16, 11 and TensorRT-RTX.

What one of them lacks is asked for with `hasattr`, never by version.
"""

from __future__ import annotations

import importlib
import threading
from collections import deque
from functools import cache
from typing import Any, Literal

from mien_engines.errors import BackendUnavailable

LibraryName = Literal["trt", "rtx"]
# Python module, and what to type where it is missing.
MODULES: dict[str, tuple[str, str]] = {
    "trt": ("tensorrt", "pip install 'mien[tensorrt]'"),
    "rtx": ("tensorrt_rtx_bindings", "pip install 'mien[rtx]'"),
}
TITLES = {"trt": "TensorRT", "rtx": "TensorRT-RTX"}
OLDEST = (10, 16)
MESSAGES_KEPT = 20


class Library:
    """One TensorRT: its module, and a log that keeps what it complained about.

    Args:
        trt: the Python module of TensorRT or TensorRT-RTX.
    """

    def __init__(self, name: LibraryName, trt: Any) -> None:
        self.name: LibraryName = name
        self.trt = trt
        self.version: str = trt.__version__
        self.complaints: deque[str] = deque(maxlen=MESSAGES_KEPT)
        self.logger = _logger(trt, self.complaints)
        self.build_lock = threading.Lock()  # a builder is for one thread
        self._runtime: Any = None
        self._lock = threading.Lock()

    @property
    def title(self) -> str:
        return f"{TITLES[self.name]} {self.version}"

    def runtime(self) -> Any:
        """What loads plans; one a process."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self.trt.Runtime(self.logger)
            return self._runtime

    def said(self) -> str:
        """What it complained about since it was last asked, in one line."""
        messages = [self.complaints.popleft() for _ in range(len(self.complaints))]
        return " ".join(" ".join(messages).split())[:400]


@cache
def library(name: LibraryName) -> Library:
    """The TensorRT of that name. Raises BackendUnavailable, which says what to type."""
    module, hint = MODULES[name]
    try:
        trt = importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # a shared library that is not there
        raise BackendUnavailable(
            f"backend {name} needs {TITLES[name]} ({error})", hint=f"Type: {hint}"
        ) from error
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if name == "trt" and version < OLDEST:
        raise BackendUnavailable(
            f"backend {name} needs TensorRT 10.16 or later, this is {trt.__version__}",
            hint=f"Type: {hint}",
        )
    return Library(name, trt)


def _logger(trt: Any, complaints: deque[str]) -> Any:
    """A logger of TensorRT's kind. It is called by threads of TensorRT's own."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                complaints.append(message)

    return Log()
