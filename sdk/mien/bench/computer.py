"""The machine that something was measured on, and its ceilings."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence

from mien.bench.report import Case, Computer, Gpu, Roof
from mien_engines.ceilings import measure
from mien_engines.machine import available_cores, cpu_model
from mien_engines.spec import Precision

PACKAGES = (
    "mien",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "tensorrt-rtx-cu13-libs",
    "pycuda",
    "torch",
)
QUERY = ("--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


def roof(cases: Sequence[Case], threads: int | None) -> Roof:
    """Measure what this machine can do at most, in the precisions of some cases."""
    kinds = {case.precision for case in cases if not case.on_gpu}
    wanted: tuple[Precision, ...] = ("f32", "bf16") if "bf16" in kinds else ("f32",)
    found = measure(wanted, threads)
    peaks = {str(kind): speed for kind, speed in found.product.items()}
    return Roof(threads=found.threads, copied=found.copied, product=peaks, by=found.by)


def load() -> float | None:
    """Runnable threads, the mean of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def gpu() -> Gpu | None:
    """The first NVIDIA GPU that this process may use, without opening it; None without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    try:
        done = subprocess.run(
            ["nvidia-smi", "-i", visible, *QUERY],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    fields = [field.strip() for field in done.stdout.strip().split(",")]
    return Gpu(name=fields[0], sm=fields[1], driver=fields[2]) if len(fields) == 3 else None


def computer(before: float | None) -> Computer:
    """Describe this machine. before: its load when the run began."""
    after = load()
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Computer(
        cpu=cpu_model(),
        cores=available_cores(),
        system=platform.platform(),
        python=platform.python_version(),
        packages=packages,
        gpu=gpu(),
        load=None if before is None or after is None else (before, after),
    )
