"""The compiled module: absent, forked, searched for wrong addresses, and never loaded by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdk.ops import isa_or_skip

from mien.ops import dispatch

ROOT = Path(__file__).parents[2]
TESTS = ("adain", "mix", "pixels", "warp")

# An editable install answers for mien._ext before any folder is looked into; FOLDER's is wanted.
INSTEAD = """
import sys, mien
sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__name__.startswith("Scikit")]
mien.__path__.insert(0, FOLDER)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folders = [str(ROOT / name) for name in ("sdk", "engines", "export")]
    paths = {"PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | paths | environment, cwd=ROOT,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def test_importing_the_operations_does_not_load_the_kernels() -> None:
    done = run(
        "import sys, mien, mien.ops.adain, mien.ops.warp\nassert 'mien._ext' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_kernels_that_do_not_load_are_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "_ext.so").write_bytes(b"no library")
    (tmp_path / "_ext.py").write_text("raise ImportError('libc is too old')")
    code = """
from mien.ops import dispatch
print(dispatch.state())
"""
    done = run(INSTEAD.replace("FOLDER", repr(str(tmp_path))) + code)
    assert "built, but they do not load" in done.stdout, done.stderr


CHILD = """
import os, numpy as np
from mien.ops.adain import adain
x, row = np.ones((1, 64, 64, 64), np.float32), np.ones((1, 64), np.float32)
adain(x, row, row, impl="native", threads=2)
child = os.fork()
adain(x, row, row, impl="native", threads=2)
if child:
    assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_gets_threads_of_its_own() -> None:
    isa_or_skip("generic")
    done = run(CHILD)
    assert done.returncode == 0, done.stderr


def library_of(compiler: str, name: str) -> str:
    asked = [compiler, f"-print-file-name={name}"]
    path = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"{compiler} has no {name}")
    return path


@pytest.mark.slow
def test_no_address_is_wrong_and_nothing_is_undefined(tmp_path: Path) -> None:
    """Builds the kernels with the sanitizers of the compiler, and runs their tests on those."""
    nanobind = pytest.importorskip("nanobind")
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which("cmake") or not shutil.which(compiler):
        pytest.skip("cmake and a C++ compiler are not both there")
    # The sanitizer comes first, and finds how C++ throws only where that is there already.
    libraries = [library_of(compiler, name) for name in ("libasan.so", "libstdc++.so")]
    build = tmp_path / "build"
    configure = [
        "cmake", "-S", ROOT / "cpp_ext", "-B", build, "-DMIEN_SANITIZE=ON",
        f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind.cmake_dir()}",
    ]  # fmt: skip
    for command in (
        configure,
        ["cmake", "--build", build],
        ["cmake", "--install", build, "--prefix", tmp_path],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    tests = [str(ROOT / "tests" / "sdk" / f"test_ops_{name}.py") for name in TESTS]
    done = run(
        INSTEAD.replace("FOLDER", repr(str(tmp_path / "mien")))
        + f"""
import pytest
from mien.ops import dispatch
assert dispatch.load().__file__.startswith({str(tmp_path)!r}), dispatch.load()
sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider", *{tests!r}]))
""",
        LD_PRELOAD=os.pathsep.join(libraries),
        ASAN_OPTIONS="detect_leaks=0",  # those of the interpreter are not ours
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]


def test_the_state_names_the_instructions_or_the_remedy() -> None:
    state = dispatch.state()
    assert state in ("avx512", "avx2", "generic") or "make ext" in state
