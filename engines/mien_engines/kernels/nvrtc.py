"""NVRTC, CUDA's compiler as a library, by ctypes: needs neither a toolkit nor a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mien_engines.errors import BuildFailed, MissingDependency

NAMES = (
    ("nvrtc64_130_0.dll", "nvrtc64_120_0.dll")
    if sys.platform == "win32"
    else ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
)


def compile_file(path: Path, architecture: str, options: Sequence[str] = ()) -> bytes:
    """Compile a file: "sm_90" gives machine code, "compute_90" PTX.

    Raises MissingDependency, BuildFailed.
    """
    library = load()
    program = ctypes.c_void_p()
    source, name = path.read_bytes(), path.name.encode()
    _check(library, library.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None))
    try:
        words = [f"-arch={architecture}", f"-I{path.parent}", *options]
        array = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        if library.nvrtcCompileProgram(program, len(words), array):
            log = _text(library, program, "ProgramLog").decode(errors="replace")
            lines = [line for line in log.splitlines() if "error" in line] or [log.strip()]
            raise BuildFailed(f"NVRTC refuses {path.name} for {architecture}: {lines[0]}")
        return _text(library, program, "CUBIN" if architecture.startswith("sm") else "PTX")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def load() -> Any:
    """The library, of the system or of the package nvidia-cuda-nvrtc. Raises MissingDependency."""
    for path in (*NAMES, *_packaged()):
        try:
            if isinstance(path, Path):  # NVRTC looks for its second half by name alone
                for half in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
                    ctypes.CDLL(str(half))
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise MissingDependency(
        "NVRTC, which compiles the CUDA kernels, is not installed",
        hint="Type: pip install nvidia-cuda-nvrtc, or build them where nvcc is: make kernels",
    )


def _packaged() -> list[Path]:
    """The libraries of the packages nvidia-*: each in a folder of its own, or all in cu13."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    return [
        path
        for folder in folders or ()
        for place in ("lib", "bin/x86_64", "bin")
        for name in NAMES
        for path in sorted(Path(folder).glob(f"*/{place}/{name}"))
    ]


def _text(library: Any, program: Any, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    # Text ends in a zero, which is not of it; machine code has none.
    return buffer.raw if what == "CUBIN" else buffer.raw.rstrip(b"\0")


def _check(library: Any, code: int) -> None:
    if code:
        raise BuildFailed(f"NVRTC failed: {library.nvrtcGetErrorString(code).decode()}")
