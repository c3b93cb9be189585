"""What is kept is whole, and keeping nothing is no failure."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mien_engines
from mien_engines import Bundle, backends, cache
from mien_engines.backends.base import Backend
from mien_engines.errors import BackendUnavailable

IMPORT = """
import sys
import mien_engines
import mien_engines.backends
loaded = {"onnxruntime", "openvino", "torch", "onnx"} & set(sys.modules)
assert not loaded, loaded
assert set(mien_engines.__all__) == {n for n in mien_engines.__all__ if hasattr(mien_engines, n)}
loaded = {"onnxruntime", "openvino", "torch", "onnx"} & set(sys.modules)
assert not loaded, loaded
"""
BARE = 'import sys, mien_engines; assert not {"pydantic", "numpy"} & set(sys.modules)'

WRITER = """
import pathlib, sys
from mien_engines.cache import write_atomic
path, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for i in range(10**6):
    write_atomic(path, bytes([i % 256]) * size)
"""


@pytest.fixture
def ov() -> Backend:
    backend = backends.get("ov")
    try:
        backend.probe()
    except BackendUnavailable as error:
        pytest.skip(error.message)
    return backend


@pytest.mark.parametrize("code", [IMPORT, BARE])
def test_importing_loads_no_runtime(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_write_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path, size = tmp_path / "kept", 1 << 20
    for kill_after_s in (0.0, 0.003, 0.011, 0.02):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(size)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(kill_after_s)
            writer.kill()
        if path.exists():
            data = path.read_bytes()
            assert data == data[:1] * size


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not cache.write_atomic(tmp_path / "kept", b"data")
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_is_swept_up(tmp_path: Path) -> None:
    old, young = tmp_path / ".kept.abc.tmp", tmp_path / ".kept.def.tmp"
    for orphan in (old, young):
        orphan.write_bytes(b"half of it")
    os.utime(old, (0, 0))
    assert cache.write_atomic(tmp_path / "kept", b"data")
    assert set(tmp_path.iterdir()) == {young, tmp_path / "kept"}


def test_without_a_cache_everything_runs_and_one_line_says_so(
    tiny: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made below a file, not even by root")
    monkeypatch.setenv("MIEN_CACHE_DIR", str(blocked / "cache"))
    x = tiny.constants["sample.x"]
    with caplog.at_level(logging.WARNING, "mien"):
        for _ in range(2):
            with mien_engines.open(tiny, threads=1) as engine:
                assert np.isfinite(engine.run("linear", x=x)["y"]).all()
    said = [record.getMessage() for record in caplog.records]
    assert said
    assert len(said) == len(set(said))
    assert all("MIEN_CACHE_DIR" in line for line in said)


def test_a_compiled_form_gives_the_bits_of_the_first_one(
    ov: Backend, tiny: Bundle, tmp_path: Path
) -> None:
    x = {"x": tiny.constants["sample.x"]}
    path, spec = tiny.graph_path("linear"), tiny.graph("linear")
    first = ov.open(path, spec, 1, tmp_path).run(x)["y"]
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(ov.open(path, spec, 1, tmp_path).run(x)["y"], first)
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize("cut", [slice(-9), slice(0), slice(1, None)])
def test_a_damaged_compiled_form_is_made_again(
    ov: Backend, tiny: Bundle, tmp_path: Path, cut: slice
) -> None:
    x = {"x": tiny.constants["sample.x"]}
    path, spec = tiny.graph_path("linear"), tiny.graph("linear")
    first = ov.open(path, spec, 1, tmp_path).run(x)["y"]
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[cut])
    np.testing.assert_array_equal(ov.open(path, spec, 1, tmp_path).run(x)["y"], first)
    assert len(kept.read_bytes()) == len(whole)


@pytest.mark.usefixtures("ov")
def test_equal_graphs_with_other_weights_share_nothing(
    tiny: Bundle, new_bundle: Callable[..., Bundle]
) -> None:
    # ONNX Runtime's TensorRT cache mixes these up: its key leaves the weights out.
    other = new_bundle("other", seed=1)
    x = tiny.constants["sample.x"]
    with mien_engines.open(tiny, "ov", threads=1) as mine:
        y = mine.run("linear", x=x)["y"]
    with mien_engines.open(other, "ov", threads=1) as theirs:
        assert not np.allclose(theirs.run("linear", x=x)["y"], y)
