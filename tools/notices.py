"""Write THIRD_PARTY_NOTICES.md: what mien needs at run time, and under which licence.

    python tools/notices.py

Names and licences are those that the installed packages state of themselves.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, metadata, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "THIRD_PARTY_NOTICES.md"
EXTRAS = ("cpu", "video", "serve", "scale")
# What is needed on the platform that the list is of, wherever it is made.
PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"} | {
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "python_version": "3.11",
    "python_full_version": "3.11.0",
}
CLASSIFIER = re.compile(r"License :: (?:OSI Approved :: )?(.*)")

HEAD = """# Third-party notices

mien's archives hold no code of others, but for wheels with compiled kernels (`MIEN_EXT=true`), into
which nanobind (BSD-3-Clause, Wenzel Jakob) and its robin_map (MIT, Thibaut Goetghebuer-Planchon)
are compiled. What is listed here is installed beside mien, under its own licence: for
{extras}, on Linux with Python 3.11. Licences are as the packages state them.
`make notices` writes this page.

| package | version | licence | home |
| --- | --- | --- | --- |
"""
TAIL = """
Some of these wheels hold libraries of others, whose licences lie beside them: OpenCV's and PyAV's
hold FFmpeg (LGPL-2.1), PyAV's also x264 and x265 (GPL-2.0); it is installed with `mien[video]`
alone.

Not in the list, since none of it is needed to run a bundle on a CPU:

- `export` and `build`: torch (BSD-3-Clause and others), onnx (Apache-2.0), onnxscript (MIT),
  h5py (BSD-3-Clause), and what these need. On Linux torch's usual wheels bring NVIDIA's
  CUDA libraries, which are under NVIDIA's terms; its wheels for the CPU do not.
- `gpu`: ONNX Runtime (MIT), with CUDA and cuDNN under NVIDIA's terms.
- `tensorrt`, `rtx`, `cuda`: TensorRT and TensorRT-RTX, which are not free software: read NVIDIA's
  terms before you pass them on, or an image that holds them. pycuda is MIT.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """Return the page, of what is installed."""
    extras = f"`mien[{','.join(EXTRAS)}]`"
    rows = [row(metadata(name)) for name in needed()]
    return HEAD.format(extras=extras) + "".join(rows) + TAIL


def row(about: PackageMetadata) -> str:
    """Return a package's line."""
    return f"| {about['Name']} | {about['Version']} | {licence(about)} | {home(about)} |\n"


def licence(about: PackageMetadata) -> str:
    """Return a package's licence: as an expression, a short name, or by its classifiers."""
    stated = about.get("License-Expression") or about.get("License") or ""
    if stated and "\n" not in stated.strip() and len(stated) < 100:
        return stated.strip().removeprefix("OSI Approved :: ")
    found = [CLASSIFIER.fullmatch(line) for line in about.get_all("Classifier") or []]
    return ", ".join(match[1] for match in found if match) or "not stated"


def home(about: PackageMetadata) -> str:
    """Return where a package lives."""
    urls = dict(line.split(", ", 1) for line in about.get_all("Project-URL") or [])
    named = {name.lower(): url for name, url in urls.items()}
    order = ("homepage", "home", "repository", "source", "source code", "documentation")
    found = about.get("Home-page") or next((named[n] for n in order if n in named), "")
    return f"<{found}>" if found else ""


def needed() -> list[str]:
    """Return the names of all packages that mien needs, and that those need, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    waiting = [*project["dependencies"], *(line for extra in EXTRAS for line in optional[extra])]
    seen: dict[str, None] = {}
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        if name not in seen:
            seen[name] = None
            waiting += _needs(name, wanted.extras)
    return sorted(seen)


def _needs(name: str, extras: set[str]) -> Iterator[str]:
    for line in requires(name) or []:
        marker = Requirement(line).marker
        environments = [{**default_environment(), **PLATFORM, "extra": e} for e in {"", *extras}]
        if marker is None or any(marker.evaluate(one) for one in environments):
            yield line.partition(";")[0]


if __name__ == "__main__":
    main()
