"""Check both archives: what is in them, how large they are, and that they install.

    python tools/distribution.py dist

Each is installed into an empty environment where no compiler is found, and draws a face there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

LARGEST = 40  # MB, of each
# By the first folder of a wheel, and of an archive of sources behind its own.
WHEEL = {"mien", "mien_cuda", "mien_engines", "mien_export"}
SOURCES = {"sdk", "engines", "export", "cpp_ext"}
PAGES = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} | {
    "LICENSE",
    "NOTICE",
    "THIRD_PARTY_NOTICES.md",
    "pyproject.toml",
    "PKG-INFO",
    ".gitignore",
}
KINDS = {".py", ".typed", ".json", ".onnx", ".safetensors", ".npz", ".jpg", ".png", ".svg"} | {
    ".html",
    ".css",
    ".js",
    ".cu",
    ".cuh",
}
BUILDING = {".cpp", ".hpp", ".txt", ".md"}
DRAW = "import mien; s = mien.Studio(); s.render(s.sample(7)).save('seven.png')"


def main() -> None:
    """Check what lies in a folder; print what is wrong and fail, or say what was seen."""
    archives = sorted(Path(sys.argv[1]).glob("mien-*"))
    wrong = [f"{path.name}: {fault}" for path in archives for fault in faults(path)]
    if len(archives) != 2 or wrong:
        sys.exit("\n".join(wrong) or f"{len(archives)} archives, expected a wheel and sources")
    for path in archives:
        with tempfile.TemporaryDirectory() as folder:
            install(path.resolve(), Path(folder), extras="[cpu]")
            run(Path(folder), "bin/python", "-W", "error", "-c", DRAW)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, installs and draws")


def faults(archive: Path) -> list[str]:
    """Return what an archive should not be or hold."""
    found = [name for name in names(archive) if not _belongs(archive, PurePosixPath(name))]
    megabytes = archive.stat().st_size / 1e6
    if megabytes > LARGEST:
        found.append(f"{megabytes:.1f} MB, expected {LARGEST} at most")
    return found


def names(archive: Path) -> list[str]:
    """Return the files of an archive; of sources, without their common folder."""
    if archive.suffix == ".whl":
        return [name for name in zipfile.ZipFile(archive).namelist() if not name.endswith("/")]
    with tarfile.open(archive) as sources:
        return [one.name.partition("/")[2] for one in sources.getmembers() if one.isfile()]


def install(
    archive: Path, folder: Path, *, extras: str = "", options: tuple[str, ...] = ()
) -> None:
    """Install an archive into a new environment, where there is no compiler."""
    venv.create(folder, with_pip=True)
    run(folder, "bin/python", "-m", "pip", "install", "-q", *options, f"{archive}{extras}")


def run(folder: Path, *command: str) -> str:
    """Run a program of an environment there, seeing nothing of the one around it."""
    kept = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.endswith("_proxy")}
    missing = {"CC": "no-compiler", "CXX": "no-compiler", "PATH": str(folder / "bin")}
    alone = {"HOME": str(folder), "MIEN_CACHE_DIR": str(folder / "cache")}
    return subprocess.run(
        [str(folder / command[0]), *command[1:]],
        cwd=folder,
        env=kept | missing | alone,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _belongs(archive: Path, path: PurePosixPath) -> bool:
    first = path.parts[0]
    if archive.suffix == ".whl":
        return first.endswith(".dist-info") or (first in WHEEL and path.suffix in KINDS)
    if len(path.parts) == 1:
        return first in PAGES
    return first in SOURCES and "zoo" != path.parts[1] and path.suffix in KINDS | BUILDING


if __name__ == "__main__":
    main()
