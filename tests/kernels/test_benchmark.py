"""The benchmark of the kernels, as far as it goes without a GPU."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien_engines.errors import ParityFailed

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    for other in ("kernel_cases", "kernel_works", "kernels"):
        monkeypatch.delitem(sys.modules, other, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("kernel_cases", monkeypatch)


def test_the_cases_move_what_they_are_named_for(bench: ModuleType) -> None:
    found = list(bench.cases())
    assert {case.dtype for case in found} == set(bench.DTYPES)
    sizes = [case for case in found if case.kernel == "adain" and 64 in case.shape[1:3]]
    for mb in bench.MEGABYTES:
        near = [c for c in sizes if math.isclose(c.moved, mb * 1e6, rel_tol=0.05)]
        assert {(c.dtype, c.layout) for c in near} >= {
            (d, layout) for d in bench.DTYPES for layout in ("NCHW", "NHWC")
        }
    kernels = {case.kernel for case in found}
    assert kernels == {
        "adain", "adain up", "adain noise", "mix", "adam", "crop", "paste", "floats_from_pixels",
        "pixels_from_floats",
    }  # fmt: skip


def test_bytes_are_those_that_must_be_moved(bench: ModuleType) -> None:
    assert bench.Case("adain", (2, 3, 4, 5), "float16").moved == 2 * 2 * 120
    assert bench.Case("adain up", (2, 3, 4, 5), "float32").moved == 4 * (120 + 480)
    assert bench.Case("adam", (1, 18, 512), "float32").moved == 7 * 4 * 18 * 512
    assert bench.Case("crop", (8, 8, 3), "bfloat16").moved == 192 + 2 * 192


def test_graphs_leave_the_cache_behind(bench: ModuleType) -> None:
    cache = 60 << 20
    assert bench.calls_of(1_000_000, cache) == 64  # more would take long to build
    assert bench.calls_of(64_000_000, cache) * 64_000_000 >= 2 * cache
    assert bench.calls_of(256_000_000, cache) == 1


def test_a_row_compares_neighbours(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    case = bench.Case("adain", (1, 64, 64, 64), "float16")
    times = {
        "mien": [1e-6, 2e-6, 4e-6],
        "copy": [0.9e-6, 1.8e-6, 3e-6],
        "eager": [3e-6, 6e-6, 20e-6],
    }
    row = bench.row_from(case, 1e-4, times)
    assert math.isclose(row.us, 2)
    assert math.isclose(row.p95_us, 4)
    assert math.isclose(row.gb_per_s, case.moved / 2e-6 / 1e9)
    assert math.isclose(row.of_copy, 0.9)
    assert math.isclose(row.times_eager, 3)
    assert row.times_compiled is None
    shown = script("kernels", monkeypatch)
    line = shown.line_of(dataclasses.asdict(row))
    assert line.count("|") == shown.HEADER.splitlines()[0].count("|")
    assert "90%" in line


def test_errors_are_of_the_range(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.range_error(np.array([10.0, 21.0]), np.array([10.0, 20.0])) == 1 / 20
    assert bench.range_error(np.array([0.1]), np.array([0.0])) == 0.1
    found = np.array([0.0, 0.5, -1.0]).reshape(3, 1, 1)
    levels = np.array([127, 127, 0], np.uint8).reshape(1, 1, 3)
    nearest = script("kernel_works", monkeypatch)._closest(found, levels)[:, 0, 0]
    np.testing.assert_allclose(nearest, [0, 0.5001 / 127.5 - 0.5 / 127.5, -1], atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "dtype", "error", "good"),
    [
        ("adain", "float32", 1e-5, True),
        ("adain", "float32", 1e-3, False),
        ("adain", "float16", 1e-3, True),
        ("paste", "float32", 1 / 255, True),
        ("mix", "float32", math.nan, False),
    ],
)
def test_a_kernel_that_is_off_is_refused_whatever_python_leaves_out(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch,
    kernel: str, dtype: str, error: float, good: bool,
) -> None:  # fmt: skip
    measured = script("kernels", monkeypatch)
    work = SimpleNamespace(mien=lambda: None, error=lambda: error)
    monkeypatch.setattr(measured, "Work", lambda *_: work)
    gpu: Any = object.__new__(measured.Bench)
    gpu.gpu = None  # `Work` is another here
    gpu.torch = SimpleNamespace(cuda=SimpleNamespace(synchronize=lambda: None))
    case = bench.Case(kernel, (8, 8, 3), dtype)
    if good:
        assert gpu.check(case) == error
    else:
        with pytest.raises(ParityFailed, match=f"{kernel} .*: off by"):
            gpu.check(case)
