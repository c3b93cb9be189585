"""What this machine is, as far as a choice of backend depends on it."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

CPU_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def available_cores() -> int:
    """Physical cores that this process may run on, at least 1."""
    try:
        logical = os.sched_getaffinity(0)
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1
    try:
        return len({Path(CPU_TOPOLOGY.format(cpu)).read_text() for cpu in logical})
    except OSError:
        return len(logical)


def cpu_model() -> str:
    """The processor's model, for people."""
    for line in cpu_name().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def cpu_name() -> str:
    """The processor's model and the instructions it offers; two equal names run alike."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
