"""What is installed, which backends open, why the others do not, and what to type."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

from mien.bundles import bundle_path
from mien.errors import BackendUnavailable, MienError
from mien.ops import dispatch
from mien_engines import Bundle, Choice
from mien_engines import open as open_engine
from mien_engines.backends import LISTING, get
from mien_engines.cache import cache_dir
from mien_engines.device_cuda import cuda_device
from mien_engines.machine import available_cores, cpu_model
from mien_engines.plans import PlanCache

PACKAGES = (
    "mien",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "av",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
    "pycuda",
    "torch",
    "onnx",
)


TENSORRT = {
    "TensorRT": ("tensorrt",),
    "TensorRT-RTX": ("tensorrt-rtx-cu13-libs", "tensorrt-rtx"),
}


@dataclass(frozen=True)
class BackendState:
    """A backend: `version` where it opens, else `reason`, which ends in what to type."""

    name: str
    precision: str
    version: str | None
    reason: str | None


@dataclass(frozen=True)
class Checkup:
    """What `mien doctor` found. problems: what keeps mien from working, each with its remedy.

    kernels: the instruction set of the compiled kernels, or why they are not used.
    tensorrt: what builds plans here, what runs them, and how many there are.
    """

    python: str
    system: str
    cpu: str
    cores: int
    cache: str
    kernels: str
    tensorrt: str
    packages: dict[str, str | None]
    backends: tuple[BackendState, ...]
    choices: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        return asdict(self)


def checkup(bundle: str = "demo", *, measure: bool = True) -> Checkup:
    """Look at everything that mien needs.

    measure: also open the bundle and find out which backend runs its step; a few seconds the
        first time on a machine, then remembered.
    """
    states = tuple(_probe(name) for name in LISTING)
    problems: list[str] = []
    if all(state.version is None for state in states):
        problems.append("no backend opens: pip install 'mien[cpu]'")
    choices: tuple[Choice, ...] = ()
    try:
        opened = Bundle.open(bundle_path(bundle))
        if measure and not problems:
            choices = _choices(opened)
    except MienError as error:
        problems.append(f"bundle {bundle}: {error}")
    return Checkup(
        python=platform.python_version(),
        system=platform.platform(),
        cpu=cpu_model(),
        cores=available_cores(),
        cache=_cache(problems),
        kernels=dispatch.state(),
        tensorrt=_tensorrt(),
        packages={name: _version(name) for name in PACKAGES},
        backends=states,
        choices=tuple(choice.model_dump() for choice in choices),
        problems=tuple(problems),
    )


def _probe(name: str) -> BackendState:
    try:
        backend = get(name)
        return BackendState(name, backend.precision, backend.probe(), None)
    except BackendUnavailable as error:
        return BackendState(name, "", None, str(error))


def _tensorrt() -> str:
    """What there is for plans, found without loading TensorRT, which is large."""
    libraries = {
        title: version
        for title, names in TENSORRT.items()
        if (version := next(filter(None, map(_version, names)), None))
    }
    if not libraries:
        return "none: pip install 'mien[rtx]' builds plans, 'mien[tensorrt]' where there is a GPU"
    found = ", ".join(f"{title} {version}" for title, version in libraries.items())
    try:
        info = cuda_device().info()
        gpu = f"{info.name} (sm {info.sm}, driver {info.driver})"
    except BackendUnavailable:
        gpu = "no GPU to run plans on"
    kept = len(PlanCache().paths())
    return f"{found}; {gpu}; {kept} plan{'' if kept == 1 else 's'} kept"


def _choices(bundle: Bundle) -> tuple[Choice, ...]:
    steps = [name for name, graph in bundle.spec.graphs.items() if graph.measured]
    with open_engine(bundle, graphs=steps) as engine:
        return tuple(choice for choice in engine.report() if choice.graph in steps)


def _cache(problems: list[str]) -> str:
    folder = cache_dir()
    at = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if not os.access(at, os.W_OK):
        problems.append(
            f"the cache {folder} cannot be written, so nothing is remembered: "
            "set MIEN_CACHE_DIR to a folder that can"
        )
    return str(folder)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
