"""Pack what a GPU machine without a network needs to run the benchmark.

    python benchmarks/gpu/pack.py --out gpu-pack

Writes code/code.tar.xz (sources, prepared graphs, wheels) and zoo/zoo.tar (the bundles that ship,
which the section `check` alone needs), and prints how large they are. Pictures, tests, documents
and training stay at home. README.md beside this file says what to do with them.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ZOO = "sdk/mien/zoo/"
CODE = re.compile(
    r"^(sdk/mien/(?!zoo/)|sdk/mien/zoo/adain/|engines/|export/mien_export/|benchmarks/|"
    r"cpp_ext/(?!cpu/)|export/zoo/adain/adain\.safetensors$|pyproject\.toml$|LICENSE$)"
)
PAGE = re.compile(r"^sdk/mien/serve/page/")
# Whose wheels travel: what mien needs and a machine with torch, onnx and OpenCV lacks.
WHEELS = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "platformdirs")
TARGET_PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def code_files(tracked: Iterable[str]) -> list[str]:
    """Tracked files that code.tar.xz holds."""
    return [name for name in tracked if CODE.match(name) and not PAGE.match(name)]


def zoo_files(tracked: Iterable[str]) -> list[str]:
    """Tracked files that zoo.tar holds."""
    return [name for name in tracked if name.startswith(ZOO) and not CODE.match(name)]


def said(*command: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit() -> str:
    """The commit, and whether the sources differ from it."""
    changed = said("status", "--porcelain", "--untracked-files=no")
    return said("rev-parse", "HEAD") + (", with changes" if changed else "")


def pack(
    out: Path, prepared: Path | None, wheels: Sequence[Path], tracked: Sequence[str]
) -> dict[str, int]:
    """Write both archives. Returns their sizes in bytes."""
    code, zoo = out / "code" / "code.tar.xz", out / "zoo" / "zoo.tar"
    for file in (code, zoo):
        file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(code, "w:xz") as archive:
        for name in code_files(tracked):
            archive.add(ROOT / name, name)
        for file in sorted(prepared.rglob("*")) if prepared else ():
            archive.add(file, f"prepared/{file.relative_to(prepared)}", recursive=False)
        for wheel in wheels:
            archive.add(wheel, f"wheels/{wheel.name}")
        _add_text(archive, "COMMIT", commit() + "\n")
    with tarfile.open(zoo, "w") as archive:
        for name in zoo_files(tracked):
            archive.add(ROOT / name, name)
    return {str(file.relative_to(out)): file.stat().st_size for file in (code, zoo)}


def fetched(folder: Path) -> list[Path]:
    """Wheels for the target's Python, of the versions that are installed here."""
    wanted = [f"{name}=={version(name)}" for name in WHEELS]
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--implementation", "cp", "--python-version", TARGET_PYTHON,
         *platforms, "-d", str(folder), *wanted],
        check=True,
    )  # fmt: skip
    return sorted(folder.glob("*.whl"))


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-pack"))
    parser.add_argument("--prepared", type=Path, help="a folder made before; else made now")
    parser.add_argument("--no-wheels", action="store_true", help="the machine has them")
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    sys.path[:0] = [str(ROOT / part) for part in ("sdk", "engines", "export")]
    with tempfile.TemporaryDirectory() as folder:
        prepared = options.prepared
        if prepared is None:
            import subjects

            prepared = Path(folder) / "prepared"
            subjects.prepare(Path(folder) / "work", prepared, tiny=False)
        wheels = [] if options.no_wheels else fetched(Path(folder) / "wheels")
        sizes = pack(options.out, prepared, wheels, said("ls-files").splitlines())
    for name, size in sizes.items():
        print(f"{options.out / name}: {size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
