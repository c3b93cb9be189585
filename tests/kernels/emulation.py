"""The CUDA kernels on the CPU: compiled by g++ against `cpp_ext/kernels/emulate`, and launched by
the same code that launches them on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from mien_engines.kernels.launch import A100, Card, Launch

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "cpp_ext" / "kernels"
CACHE = ROOT / "build" / "emulation"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = [
    "-std=c++17", "-Og", "-ffp-contract=off", "-fPIC", "-DMIEN_EMULATED", "-Wall", "-Wextra",
    "-Werror", "-Wno-unknown-pragmas", "-Wno-maybe-uninitialized", f"-I{SOURCES}",
]  # fmt: skip

# One file of all sources, and a table of the kernels in them.
REGISTRY = """
#include <map>
struct Entry {{ void (*call)(void **); }};
template <auto Kernel> void entry(void **arguments) {{ emulation::call(Kernel, arguments); }}
static const std::map<std::string, Entry> kernels = {{
{entries}
}};
extern "C" int launch(const char *name, const unsigned *size, unsigned cluster,
                      unsigned long shared, unsigned long seed, void **arguments, char *message) {{
    try {{
        const Entry kernel = kernels.at(name);
        emulation::machine.run({{{{size[0], size[1], size[2]}}, {{size[3], size[4], size[5]}},
                                 cluster, shared, seed}}, [&] {{ kernel.call(arguments); }});
        return 0;
    }} catch (const std::exception &error) {{
        std::strncpy(message, error.what(), 255);
        return 1;
    }}
}}
"""


def sources() -> list[Path]:
    return sorted(SOURCES.glob("*.cu"))


def build(files: Sequence[Path]) -> ctypes.CDLL:
    """The kernels of some files as a library; kept under build/ until a source changes."""
    if not shutil.which(COMPILER):
        pytest.skip(f"the emulation needs {COMPILER}")
    parts = [*files, *SOURCES.glob("*.cuh"), *(SOURCES / "emulate").iterdir(), Path(__file__)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    library = CACHE / f"{key}.so"
    with FileLock(CACHE / f"{key}.lock"):
        if not library.exists():
            _compile(files, library)
    loaded = ctypes.CDLL(str(library))
    loaded.launch.argtypes = [
        ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_ulong, ctypes.c_ulong,
        ctypes.c_void_p, ctypes.c_char_p,
    ]  # fmt: skip
    return loaded


def _compile(files: Sequence[Path], library: Path) -> None:
    include = "".join(f'#include "{path}"\n' for path in files)
    expanded = _run([COMPILER, *FLAGS, "-E", "-P", "-xc++", "-"], include)
    names = re.findall(r'extern "C" void\s+(\w+)\(', expanded)
    entries = "\n".join(f'{{"{name}", {{&entry<{name}>}}}},' for name in names)
    partial = library.with_suffix(".part")
    _run(
        [COMPILER, *FLAGS, "-shared", "-xc++", "-", "-o", str(partial)],
        include + REGISTRY.format(entries=entries),
    )
    partial.replace(library)


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@dataclass
class Emulation:
    """A card that is none. seed: 0 lets threads go on in order, else in any.

    block: threads of the blocks that take planes, instead of what the launcher says.
    """

    library: ctypes.CDLL
    card: Card = A100
    seed: int = 0
    block: int = 0
    launches: list[Launch] = field(default_factory=list)

    def run(self, launches: Sequence[Launch], stream: int) -> None:
        for launch in launches:
            if self.block and launch.kernel.startswith("adain_nchw"):
                launch = replace(launch, block=(self.block, 1, 1))
            self.launches.append(launch)
            assert launch.shared <= self.card.block_shared, "more shared memory than a block has"
            values = (ctypes.c_void_p * len(launch.arguments))(
                *(ctypes.addressof(value) for value in launch.arguments)
            )
            size = (ctypes.c_uint * 6)(*launch.grid, *launch.block)
            message = ctypes.create_string_buffer(256)
            failed = self.library.launch(
                launch.kernel.encode(), size, launch.cluster, launch.shared, self.seed, values,
                message,
            )  # fmt: skip
            if failed:
                raise RuntimeError(f"{launch.kernel}: {message.value.decode()}")

    def workspace(self, nbytes: int, stream: int) -> Guarded:
        return Guarded(np.zeros(nbytes, np.uint8))


class Guarded:
    """An array that says it is on a GPU, between guards that no kernel may write.

    As bfloat16 it holds the upper halves of its numbers. What a kernel reads of a guard is NaN.
    """

    MARGIN = 256  # bytes

    def __init__(self, array: NDArray[Any], dtype: str | None = None, shift: int = 0) -> None:
        self.dtype = dtype or array.dtype.name
        raw = bits_from(array) if self.dtype == "bfloat16" else np.ascontiguousarray(array)
        self.shape, self.nbytes = raw.shape, raw.nbytes
        self._memory = np.full(raw.nbytes + 3 * self.MARGIN, 0xFF, np.uint8)
        start = -self._memory.ctypes.data % self.MARGIN + self.MARGIN // 2 + shift
        self._memory[start : start + raw.nbytes] = raw.view(np.uint8).ravel() if raw.size else 0
        self._raw = self._memory[start : start + raw.nbytes].view(raw.dtype).reshape(raw.shape)
        self._start = start

    @property
    def address(self) -> int:
        return self._raw.ctypes.data

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        typestr = "<V2" if self.dtype == "bfloat16" else self._raw.dtype.str
        return {
            "shape": self.shape, "typestr": typestr, "data": (self.address, False), "version": 3,
        }  # fmt: skip

    @property
    def value(self) -> NDArray[Any]:
        """What it holds, bfloat16 as float32. Fails where a guard was written."""
        guards = np.delete(self._memory, slice(self._start, self._start + self.nbytes))
        assert (guards == 0xFF).all(), "a kernel wrote beyond an array"
        return floats_from(self._raw) if self.dtype == "bfloat16" else self._raw.copy()


def bits_from(array: NDArray[Any]) -> NDArray[np.uint16]:
    """float32 rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FFF, rounded).astype(np.uint16)


def floats_from(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(array: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """What remains of numbers in a dtype, as float32."""
    if dtype == "bfloat16":
        return floats_from(bits_from(array))
    with np.errstate(over="ignore"):
        return array.astype(dtype).astype(np.float32)
