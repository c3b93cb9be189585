"""The client in C and C++: compiled where a compiler is, run where ONNX Runtime's headers are."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.bundles import BUILT_IN, built_in
from mien_engines import open as open_engine

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples" / "cpp"
HEADER = "onnxruntime_c_api.h"
# Where a package of the system, or whoever sets MIEN_ORT_INCLUDE, has the headers.
PLACES = (
    os.environ.get("MIEN_ORT_INCLUDE", ""),
    "/usr/include/onnxruntime",
    "/usr/include/onnxruntime/core/session",
    "/usr/local/include/onnxruntime",
    "/usr/local/include",
)
FLAGS = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler"),
]

READ_JSON = """
#include <cstdio>
#include <fstream>
#include <iterator>
#include "json.hpp"
void print(const json::Value &v) {
  using K = json::Value::Kind;
  bool first = true;
  switch (v.kind) {
    case K::null: std::printf("null"); break;
    case K::boolean: std::printf(v.truth ? "true" : "false"); break;
    case K::number: std::printf("%.17g", v.number); break;
    case K::text: std::printf("\\"%s\\"", v.text.c_str()); break;
    case K::list:
      std::printf("[");
      for (const auto &one : v.list) { if (!first) std::printf(","); first = false; print(one); }
      std::printf("]"); break;
    case K::object:
      std::printf("{");
      for (const auto &[name, one] : v.object) {
        if (!first) std::printf(",");
        first = false;
        std::printf("\\"%s\\":", name.c_str());
        print(one);
      }
      std::printf("}"); break;
  }
}
int main(int, char **words) {
  std::ifstream file(words[1]);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  try { print(json::parse(text)); } catch (const std::exception &e) {
    std::fprintf(stderr, "%s", e.what());
    return 1;
  }
}
"""
COPY_NPY = """
#include <algorithm>
#include "npy.hpp"
int main(int, char **words) {
  npy::Array array = npy::read(words[1]);
  array.stated.data = array.bytes.data();
  npy::write(words[2], array.stated);
}
"""


def compiled(folder: Path, source: str) -> Path:
    (folder / "main.cpp").write_text(source)
    built = folder / "built"
    subprocess.run(
        ["g++", *FLAGS, f"-I{CLIENT}", str(folder / "main.cpp"), "-o", str(built)], check=True
    )
    return built


def test_the_header_is_c() -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    subprocess.run([compiler, *flags, "-x", "c", str(CLIENT / "mien_bundle.h")], check=True)


def test_manifests_are_read_as_python_reads_them(tmp_path: Path) -> None:
    reader = compiled(tmp_path, READ_JSON)
    for name in built_in():
        path = BUILT_IN / name / "bundle.json"
        printed = subprocess.run([reader, path], capture_output=True, check=True).stdout
        assert json.loads(printed) == json.loads(path.read_bytes())
    for text in ("", "{", '{"a" 1}', "[1, 2", '{"a": tru}', "1 2", "[" * 100 + "]" * 100):
        (tmp_path / "bad.json").write_text(text)
        done = subprocess.run([reader, tmp_path / "bad.json"], capture_output=True, check=False)
        assert done.returncode == 1, text
        assert b"at byte" in done.stderr


def test_arrays_are_read_and_written_as_numpy_does(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    copy = compiled(tmp_path, COPY_NPY)
    for array in (
        rng.standard_normal((3, 7, 5)).astype(np.float32),
        rng.integers(0, 256, (1, 2, 3, 3), np.uint8),
        np.array([5], np.int64),
        np.array([[True], [False]]),
    ):
        np.save(tmp_path / "in.npy", array)
        subprocess.run([copy, tmp_path / "in.npy", tmp_path / "out.npy"], check=True)
        found = np.load(tmp_path / "out.npy")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mien_run, built against the shared library that the onnxruntime wheel brings."""
    include = next((p for p in PLACES if p and (Path(p) / HEADER).is_file()), None)
    if include is None:
        pytest.skip(f"{HEADER} is not on this machine; MIEN_ORT_INCLUDE names its folder")
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    library = next(Path(spec.origin).parent.glob("capi/libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip("this onnxruntime brings no shared library")
    folder = tmp_path_factory.mktemp("client")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    subprocess.run(
        ["g++", *FLAGS, f"-I{CLIENT}", "-isystem", include,
         *(str(CLIENT / name) for name in ("mien_bundle.cpp", "mien_run.cpp")),
         f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}", "-o", str(folder / "mien_run")],
        check=True,
    )  # fmt: skip
    return folder / "mien_run"


def test_a_graph_gives_what_it_gives_in_python_bit_for_bit(
    client: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    feeds: dict[str, Any] = {
        "content": rng.integers(0, 256, (3, 128, 128, 3), np.uint8),
        "pattern": rng.integers(0, 256, (3, 128, 128, 3), np.uint8),
        "weight": np.linspace(0, 1, 6, dtype=np.float32),
    }
    for name, array in feeds.items():
        np.save(tmp_path / f"{name}.npy", array)
    given = [f"{name}={tmp_path / name}.npy" for name in feeds]
    subprocess.run([client, BUILT_IN / "vaegan", "merge", *given, "-o", tmp_path], check=True)
    with open_engine(BUILT_IN / "vaegan", "ort", threads=1) as engine:
        expected = engine.run("merge", **feeds)
    for name, array in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), array)


def test_what_is_wrong_is_said_on_one_line(client: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "nan.npy", np.full((1, 6, 192), np.nan, np.float32))
    other = tmp_path / "other"
    other.mkdir()
    (other / "bundle.json").write_text('{"schema_version": 99}')
    vaegan, flat = str(BUILT_IN / "vaegan"), f"={tmp_path / 'flat.npy'}"
    for given, said in (
        ([str(tmp_path), "encode"], "there is no"),
        ([str(other), "encode"], "has schema version 99, this client reads 1"),
        ([vaegan, "paint"], "no graph paint. There are: encode, generate"),
        ([vaegan, "encode", f"picture{flat}"], "is float32 [3], expected uint8 [any, 128, 128, 3]"),
        ([vaegan, "encode", f"face{flat}"], "input picture is missing"),
        ([vaegan, "generate", f"codes={tmp_path / 'nan.npy'}"], "holds NaN or infinity"),
    ):
        done = subprocess.run([client, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
