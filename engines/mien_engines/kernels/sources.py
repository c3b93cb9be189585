"""Where the kernels' sources and their compiled forms are."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from mien_engines.errors import MissingDependency

# In a wheel they lie beside the package; in a checkout under cpp_ext.
INSTALLED = Path(__file__).parents[2] / "mien_cuda" / "kernels"
CHECKOUT = Path(__file__).parents[3] / "cpp_ext" / "kernels"
BUILT = "built"  # what `make kernels` leaves, beside the sources

FILES = ("adain_nchw", "adain_nhwc", "adain_two_pass", "adam", "crop", "mix", "paste", "pixels")


def folder() -> Path:
    """Where the .cu files are. Raises MissingDependency."""
    for path in (INSTALLED, CHECKOUT):
        if (path / "device.cuh").is_file():
            return path
    raise MissingDependency(
        "the CUDA sources of the kernels are not installed", hint="Install mien anew"
    )


def file_of(kernel: str) -> str:
    """The name of the .cu file that a kernel is in, without its ending."""
    if "moments" in kernel or "result" in kernel or kernel == "adain_affine":
        return "adain_two_pass"
    if kernel.startswith("adain_plugin"):
        return "adain_nchw"
    return "pixels" if "pixels" in kernel else kernel.rpartition("_")[0]


@cache
def digest() -> str:
    """Of all sources: what was compiled of others is not taken."""
    content = hashlib.sha256()
    for path in sorted([*folder().glob("*.cu"), *folder().glob("*.cuh")]):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:16]
