"""What an import costs and changes: nothing heavy is loaded, nothing global is touched."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import mien
import mien_engines

NEVER = ("torch", "torchvision", "onnx", "onnxscript")
NOT_YET = ("cv2", "PIL", "pydantic", "onnxruntime", "openvino", "typer", "rich", "numpy")


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("package", ["mien", "mien_engines"])
def test_importing_the_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by(f"import {package}") & {*NEVER, *NOT_YET}


def test_no_module_of_the_run_time_loads_a_training_framework() -> None:
    names = [
        module.name
        for package in (mien, mien_engines)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]
    assert len(names) > 20
    code = "\n".join(f"import {name}" for name in names)
    assert not loaded_by(code) & set(NEVER)


def test_every_public_name_is_there() -> None:
    for module in (mien, mien_engines, importlib.import_module("mien.errors")):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mien.nothing


def test_importing_changes_nothing_global() -> None:
    code = """
import logging, os, warnings
import cv2, numpy  # numpy adds warning filters, OpenCV an environment variable: not ours to judge
before = (list(logging.root.handlers), logging.root.level, list(warnings.filters), os.getcwd(),
          dict(os.environ))
import mien, mien.studio, mien_engines.engine
after = (list(logging.root.handlers), logging.root.level, list(warnings.filters), os.getcwd(),
         dict(os.environ))
assert before == after
"""
    loaded_by(code)
