"""Memory of this process, on the host and on the device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
SMI = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


def resident_mb() -> float | None:
    """Memory of this process that is in RAM; None where the system does not tell."""
    return _status("VmRSS")


def peak_mb() -> float | None:
    """The most of it so far."""
    found = _status("VmHWM")
    if found is None and sys.platform != "win32":
        import resource

        scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return found


def device_mb() -> float | None:
    """Memory of this process on NVIDIA's devices, by nvidia-smi; None where there is none."""
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split(",") for line in done.stdout.splitlines() if line.count(",") == 1]
    own = [size.strip() for pid, size in rows if pid.strip() == str(os.getpid())]
    return sum(float(size) for size in own if size.isdigit()) if own else None


def _status(field: str) -> float | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith(f"{field}:")]
    return int(found[0].split()[1]) / 1e3 if found else None
