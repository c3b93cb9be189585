"""Examples, run with bundles of one's own."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from mien.bundles import built_in

ROOT = Path(__file__).parents[2]


def run_example(
    name: str, bundles: list[Path], work: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Run an example in a folder and return the names of what it wrote; it draws demo faces."""
    if "demo" not in built_in():
        pytest.skip("the demo bundle is not built: python export/zoo/ship.py")
    monkeypatch.chdir(work)
    monkeypatch.setenv("MIEN_CACHE_DIR", str(work / "cache"))
    monkeypatch.setattr(sys, "argv", [name, *map(str, bundles)])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    return sorted(path.name for path in work.iterdir() if path.name != "cache")
