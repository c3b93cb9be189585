"""The machine that something was measured on, and its ceilings."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence

from mien.bench.report import Case, Computer, Roof
from mien_engines.ceilings import measure
from mien_engines.machine import available_cores, cpu_model
from mien_engines.spec import Precision

PACKAGES = ("mien", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch")


def roof(cases: Sequence[Case], threads: int | None) -> Roof:
    """Measure what this machine can do at most, in the precisions of some cases."""
    kinds = {case.precision for case in cases} | {"f32"}
    wanted: tuple[Precision, ...] = ("f32", "bf16") if "bf16" in kinds else ("f32",)
    found = measure(wanted, threads)
    peaks = {str(kind): speed for kind, speed in found.product.items()}
    return Roof(threads=found.threads, copied=found.copied, product=peaks, by=found.by)


def load() -> float | None:
    """Runnable threads, the mean of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


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
        load=None if before is None or after is None else (before, after),
    )
