"""Which form of a kernel a card gets: machine code, PTX, or what NVRTC makes of the source.

`make kernels` leaves NAME.sm_90.cubin and NAME.compute_80.ptx. Machine code runs on the generation
that it was made for, from its own revision on; PTX on everything later, compiled by the driver.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from mien_engines.errors import BuildFailed, MissingDependency
from mien_engines.kernels import nvrtc, sources

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90")
PORTABLE = ("compute_80", "compute_90")  # without clusters, and with
OPTIONS = ("-std=c++17", "-default-device")


@cache
def module(name: str, capability: tuple[int, int]) -> bytes:
    """A compiled form of a file, with all its kernels, for a card.

    Raises:
        MissingDependency: none was built, and NVRTC is not installed.
        BuildFailed: NVRTC refuses the source.
    """
    built = choose(name, capability, [path.name for path in _built()])
    if built:
        return (sources.folder() / sources.BUILT / built).read_bytes()
    return compile_source(name, f"sm_{capability[0]}{capability[1]}")


def choose(name: str, capability: tuple[int, int], files: Iterable[str]) -> str | None:
    """The best of the files for a card: machine code, else PTX that has all it has, else none."""
    own, best = 10 * capability[0] + capability[1], (0, 0, "")
    for file in files:
        found = re.fullmatch(rf"{name}\.(sm|compute)_(\d+)\.(?:cubin|ptx)", file)
        if not found:
            continue
        kind, made_for = found[1], int(found[2])
        runs = made_for <= own and (kind == "compute" or made_for // 10 == own // 10)
        if runs and (made_for >= 90 or own < 90):  # an older one lacks the kernels of clusters
            best = max(best, (kind == "sm", made_for, file))
    return best[2] or None


def compile_source(name: str, architecture: str) -> bytes:
    """What NVRTC makes of a file: machine code for "sm_90", PTX for "compute_90"."""
    return nvrtc.compile_file(sources.folder() / f"{name}.cu", architecture, OPTIONS)


def ptx(name: str, architecture: str = PORTABLE[0]) -> bytes:
    """PTX of a file, as TensorRT takes it: what was built, else NVRTC's."""
    built = sources.folder() / sources.BUILT / f"{name}.{architecture}.ptx"
    return built.read_bytes() if built in _built() else compile_source(name, architecture)


def _built() -> Sequence[Path]:
    """The compiled files, where they are of these sources."""
    folder = sources.folder() / sources.BUILT
    stamp = folder / "digest"
    if not stamp.is_file() or stamp.read_text() != sources.digest():
        return ()
    return sorted(folder.iterdir())


def build(
    names: Sequence[str] = sources.FILES, into: Path | None = None, nvcc: str = "nvcc"
) -> list[Path]:
    """Compile files with nvcc, for every architecture; return what was written.

    Raises MissingDependency where there is no nvcc, BuildFailed where it refuses a file.
    """
    if not shutil.which(nvcc):
        raise MissingDependency(
            "nvcc is not on the path", hint="Install CUDA's toolkit; without it NVRTC compiles"
        )
    folder = into or sources.folder() / sources.BUILT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digest").unlink(missing_ok=True)  # until all are there, none is taken
    written = []
    for name in names:
        for target in (*ARCHITECTURES, *PORTABLE):
            kind = "cubin" if target.startswith("sm") else "ptx"
            out = folder / f"{name}.{target}.{kind}"
            partial = out.with_suffix(".part")
            command = [
                nvcc, "-std=c++17", f"-arch={target}", f"-{kind}", "-Werror", "all-warnings",
                str(sources.folder() / f"{name}.cu"), "-o", str(partial),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                partial.unlink(missing_ok=True)
                raise BuildFailed(f"nvcc refuses {name}.cu: {_first_error(done.stderr)}")
            partial.replace(out)
            written.append(out)
    (folder / "digest").write_text(sources.digest())
    return written


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines()
    return lines[0] if lines else "it says nothing"
