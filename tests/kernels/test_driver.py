"""How kernels are compiled, found and launched, without a GPU: the driver is a recording one."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_engines import kernels as api
from mien_engines.errors import (
    BackendUnavailable,
    BuildFailed,
    InputError,
    MissingDependency,
    RunError,
)
from mien_engines.kernels import compiled, cuda, nvrtc
from mien_engines.kernels import sources as source_files
from mien_engines.kernels.arrays import Array, check
from mien_engines.kernels.cuda import Attribute, Config, Driver, config_from
from mien_engines.kernels.launch import H200, Card, Launch, integers, known_card, pointer
from tests.kernels.emulation import Guarded, sources

FILES = [
    f"{name}.{target}"
    for name in ("adain_nchw", "mix")
    for target in ("sm_80.cubin", "sm_86.cubin", "sm_89.cubin", "sm_90.cubin", "compute_80.ptx",
                   "compute_90.ptx")
]  # fmt: skip


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        ((8, 0), "sm_80.cubin"),
        ((8, 6), "sm_86.cubin"),
        ((8, 7), "sm_86.cubin"),  # machine code runs on later revisions of its generation
        ((8, 9), "sm_89.cubin"),
        ((9, 0), "sm_90.cubin"),
        ((10, 0), "compute_90.ptx"),
        ((12, 0), "compute_90.ptx"),
    ],
)
def test_a_card_gets_the_best_form_there_is(capability: tuple[int, int], wanted: str) -> None:
    assert compiled.choose("mix", capability, FILES) == f"mix.{wanted}"


def test_what_lacks_clusters_is_not_taken_where_launches_ask_for_them() -> None:
    assert compiled.choose("mix", (9, 0), ["mix.compute_80.ptx", "mix.sm_80.cubin"]) is None
    assert compiled.choose("mix", (8, 9), ["mix.compute_80.ptx"]) == "mix.compute_80.ptx"
    assert compiled.choose("mix", (8, 0), ["mix.sm_86.cubin", "mix.compute_90.ptx", "x"]) is None
    assert compiled.choose("mi", (8, 0), FILES) is None


@given(
    st.sampled_from([(8, 0), (8, 6), (8, 9), (9, 0), (10, 3), (12, 1)]),
    st.sets(st.sampled_from(FILES)),
)
def test_what_is_chosen_runs_on_the_card(capability: tuple[int, int], files: set[str]) -> None:
    found = compiled.choose("adain_nchw", capability, files)
    if found:
        made_for = int(re.findall(r"_(\d+)\.", found)[0])
        assert found.startswith("adain_nchw.")
        assert made_for <= 10 * capability[0] + capability[1]
        assert found.endswith("ptx") or made_for // 10 == capability[0]


def entry_points(path: Path) -> set[str]:
    """The kernels that a file defines, by name; macros give them their endings."""
    text = path.read_text()
    direct = re.findall(r'extern "C" __global__ void __launch_bounds__\(\w+\) (\w+)\($', text, re.M)
    return {name for name in direct if name != "NAME"}


def test_every_kernel_is_looked_for_in_its_own_file() -> None:
    assert {path.stem for path in sources()} == set(source_files.FILES)
    for path in sources():
        for name in entry_points(path):
            assert source_files.file_of(name) == path.stem
    for name, file in (
        ("adain_nchw_f16", "adain_nchw"), ("adain_nhwc_bf16", "adain_nhwc"),
        ("adain_plugin_f32", "adain_nchw"), ("adain_nchw_moments_f32", "adain_two_pass"),
        ("adain_nhwc_result_f16", "adain_two_pass"), ("adain_affine", "adain_two_pass"),
        ("floats_from_pixels_f32", "pixels"), ("pixels_from_floats_bf16", "pixels"),
        ("crop_f16", "crop"), ("paste_f32", "paste"), ("mix_f32", "mix"), ("adam_f32", "adam"),
    ):  # fmt: skip
        assert source_files.file_of(name) == file


def test_what_was_built_of_other_sources_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(source_files.folder(), folder, ignore=shutil.ignore_patterns("built"))
    built = folder / "built"
    built.mkdir()
    (built / "mix.sm_90.cubin").write_bytes(b"machine code")
    monkeypatch.setattr(source_files, "folder", lambda: folder)
    monkeypatch.setattr(compiled, "compile_source", lambda *what: b"by NVRTC: %s %s" % tuple(
        part.encode() for part in what
    ))  # fmt: skip
    for cache in (source_files.digest, compiled.module):
        cache.cache_clear()
    try:
        assert compiled.module("mix", (9, 0)) == b"by NVRTC: mix sm_90"
        compiled.module.cache_clear()
        (built / "digest").write_text(source_files.digest())
        assert compiled.module("mix", (9, 0)) == b"machine code"
        assert compiled.module("adam", (9, 0)) == b"by NVRTC: adam sm_90"
        assert compiled.ptx("mix") == b"by NVRTC: mix compute_80"
        (built / "mix.compute_80.ptx").write_bytes(b"PTX")
        assert compiled.ptx("mix") == b"PTX"
    finally:
        for cache in (source_files.digest, compiled.module):
            cache.cache_clear()


def test_missing_sources_and_compilers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingDependency, match="nvcc is not on the path"):
        compiled.build(nvcc="no-such-nvcc")
    monkeypatch.setattr(source_files, "CHECKOUT", tmp_path)
    with pytest.raises(
        MissingDependency, match="the CUDA sources of the kernels are not installed"
    ):
        source_files.folder()
    monkeypatch.setattr(nvrtc, "NAMES", ("no-such-nvrtc.so",))
    nvrtc.load.cache_clear()
    with pytest.raises(MissingDependency, match=r"NVRTC, .*pip install nvidia-cuda-nvrtc"):
        nvrtc.load()


def test_what_nvcc_refuses_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text('#!/bin/sh\necho "mix.cu(3): error: expected a ;" >&2\nexit 1\n')
    nvcc.chmod(0o755)
    with pytest.raises(BuildFailed, match=r"nvcc refuses mix.cu: mix.cu\(3\): error: expected a ;"):
        compiled.build(["mix"], tmp_path / "out", str(nvcc))
    assert not list((tmp_path / "out").iterdir())


ATTRIBUTES = {75: 9, 76: 0, 16: 132, 38: 60 << 20, 97: 227 * 1024}


class Library:
    """libcuda as far as it is called; keeps the calls."""

    def __init__(self, context: int = 77, failing: str = "") -> None:
        self.context, self.failing = context, failing
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, *arguments))
            answer = getattr(type(self), f"_{name}", lambda *a: 0)
            return 719 if name == self.failing else int(answer(self, *arguments))

        return call

    def _cuCtxGetCurrent(self, out: Any) -> int:
        out._obj.value = self.context
        return 0

    def _cuDeviceGetAttribute(self, out: Any, attribute: Any, device: Any) -> int:
        out._obj.value = ATTRIBUTES[attribute.value]
        return 0

    def _cuModuleGetFunction(self, out: Any, module: Any, name: bytes) -> int:
        out._obj.value = hash(name) & 0xFFFF | 1
        return 0

    def _cuMemAlloc_v2(self, out: Any, nbytes: Any) -> int:
        out._obj.value = 4096 * len(self.calls)
        return 0

    def _cuGetErrorName(self, code: int, out: Any) -> int:
        out._obj.value = b"CUDA_ERROR_LAUNCH_FAILED"
        return 0

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "module", lambda name, capability: b"code of " + name.encode())


@pytest.mark.usefixtures("no_compiler")
def test_a_launch_tells_the_driver_all_there_is() -> None:
    library = Library()
    runner = Driver(library)
    assert runner.card == H200
    launch = Launch(
        "adain_nchw_f16", (512, 1, 1), (128, 2, 1), (pointer(1 << 40), *integers(7)), 99_000, 4
    )
    runner.run([launch, launch], stream=0xABC)
    assert len(library.named("cuModuleLoadData")) == 1  # compiled and loaded once
    assert library.named("cuModuleLoadData")[0][1].value == b"code of adain_nchw"
    ((function, attribute, value),) = library.named("cuFuncSetAttribute")
    assert (attribute.value, value.value) == (8, 227 * 1024)
    (config, called, values, extra), _ = library.named("cuLaunchKernelEx")
    assert (called.value, extra) == (function.value, None)
    told = config._obj
    assert (list(told.grid), list(told.block), told.shared) == ([512, 1, 1], [128, 2, 1], 99_000)
    assert told.stream == 0xABC
    assert told.count == 1
    assert (told.attributes[0].id, list(told.attributes[0].size)) == (4, [4, 1, 1])
    assert ctypes.c_uint64.from_address(values[0]).value == 1 << 40
    assert ctypes.c_int.from_address(values[1]).value == 7


def test_a_file_is_compiled_and_loaded_once_for_all_its_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str]] = []

    def compile_source(name: str, architecture: str) -> bytes:
        asked.append((name, architecture))
        return b"code of " + name.encode()

    monkeypatch.setattr(compiled, "_built", lambda: ())
    monkeypatch.setattr(compiled, "compile_source", compile_source)
    compiled.module.cache_clear()
    try:
        library = Library()
        runner = Driver(library)
        kernels = ["mix_f32", "mix_f16", "adam_f32", "mix_bf16", "mix_f16"]
        runner.run([Launch(kernel, (1, 1, 1), (32, 1, 1), ()) for kernel in kernels], 0)
        library.context = 78  # a module is of one context; what was compiled serves all
        runner.run([Launch("mix_f32", (1, 1, 1), (32, 1, 1), ())], 0)
    finally:
        compiled.module.cache_clear()
    assert asked == [("mix", "sm_90"), ("adam", "sm_90")]
    loaded = [image.value for _, image in library.named("cuModuleLoadData")]
    assert loaded == [b"code of mix", b"code of adam", b"code of mix"]
    entries = [name for _, _, name in library.named("cuModuleGetFunction")]
    assert entries == [b"mix_f32", b"mix_f16", b"adam_f32", b"mix_bf16", b"mix_f32"]
    assert len(library.named("cuLaunchKernelEx")) == 6


def test_the_structures_are_those_of_cuda_h() -> None:
    """Sizes and offsets of CUDA 13's header on x86-64, read off it."""
    assert ctypes.sizeof(Attribute) == 72
    assert Attribute.size.offset == 8
    assert ctypes.sizeof(Config) == 56
    assert [getattr(Config, name).offset for name in ("stream", "attributes", "count")] == [
        32,
        40,
        48,
    ]


def test_a_launch_without_a_cluster_asks_for_none() -> None:
    assert config_from(Launch("mix_f32", (1, 1, 1), (32, 1, 1), ()), 0).count == 0


@pytest.mark.usefixtures("no_compiler")
def test_workspaces_are_kept_by_stream_and_grow_by_doubling() -> None:
    library = Library()
    runner = Driver(library)
    first = runner.workspace(1000, 1)
    assert runner.workspace(600, 1) is first
    assert runner.workspace(600, 2) is not first
    larger = runner.workspace(1001, 1)
    assert (first.nbytes, larger.nbytes) == (1000, 2000)
    assert runner.workspace(1500, 1) is larger
    assert not library.named("cuMemFree_v2")  # a captured graph may hold the address


@pytest.mark.usefixtures("no_compiler")
def test_what_the_driver_says_is_named() -> None:
    runner = Driver(Library(failing="cuLaunchKernelEx"))
    launch = Launch("mix_f32", (1, 1, 1), (32, 1, 1), ())
    text = r"cuLaunchKernelEx: the CUDA driver says CUDA_ERROR_LAUNCH_FAILED"
    with pytest.raises(RunError, match=text):
        runner.run([launch], 0)
    with pytest.raises(RunError, match="no CUDA context is current in this thread"):
        Driver(Library(context=0))


def test_a_card_that_is_too_old_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match=r"compute capability 7\.5, the kernels need 8\.0"):
        Card((7, 5), 40, 64 << 10, 4 << 20)
    assert known_card((8, 9), 128, 72 << 20).clusters == ()
    assert H200.clusters == (2, 4, 8)


def test_a_machine_without_a_driver_or_gpu_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LIBRARY", "no-such-libcuda.so")
    with pytest.raises(
        BackendUnavailable, match="need an NVIDIA driver, and this machine has none"
    ):
        api.driver()
    found = SimpleNamespace(cuInit=lambda flags: 100)
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: found)
    with pytest.raises(BackendUnavailable, match=r"finds no GPU \(error 100\)"):
        api.driver()


def test_importing_the_kernels_loads_nothing_of_cuda() -> None:
    code = (
        "import sys, mien_engines.kernels\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'pycuda', 'torch', 'cupy', 'tensorrt', 'onnx'}, loaded"
    )
    path = {"PYTHONPATH": str(Path(api.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Facts:
    def __init__(self, **facts: Any) -> None:
        whole = {"shape": (2, 3), "typestr": "<f4", "data": (64, False), "version": 3}
        self.__cuda_array_interface__ = whole | facts


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (Facts(typestr="<f8"), "x is <f8, expected float32 or float16"),
        (Facts(shape=(3, 2)), r"x has shape \(3, 2\), expected \(2, W\)"),
        (Facts(shape=(2, 0)), r"x has shape \(2, 0\)"),
        (Facts(strides=(24, 4)), "x does not lie in memory in one piece"),
        (Facts(strides=(12, 8)), "x does not lie in memory in one piece"),
        (Facts(data=(64, True)), "x cannot be written to"),
        (np.zeros((2, 3), np.float32), "x is ndarray, expected an array on the GPU"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(array: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        check("x", array, ("float32", "float16"), (2, "W"), writable=True)


def test_arrays_are_taken_as_their_makers_describe_them() -> None:
    assert check("x", Facts(), ("float32",), (2, "W")) == Array(64, (2, 3), "float32")
    assert check("x", Facts(strides=(12, 4)), ("float32",), (2, 3)).nbytes == 24
    assert check("x", Facts(shape=(1, 3), strides=(999, 4)), ("float32",), (1, 3)).shape == (1, 3)
    half = check("x", Facts(typestr="<V2"), ("bfloat16",), (2, 3))
    assert (half.dtype, half.suffix, half.nbytes) == ("bfloat16", "bf16", 12)
    held = Guarded(np.zeros((2, 3), np.uint8))
    assert check("x", held, ("uint8",), (2, 3)).address == held.address


@pytest.mark.slow
@pytest.mark.parametrize("name", source_files.FILES)
def test_nvcc_compiles_every_file_without_a_warning(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not on this machine")
    monkeypatch.setattr(compiled, "ARCHITECTURES", ("sm_80", "sm_90"))  # without clusters, and with
    monkeypatch.setattr(compiled, "PORTABLE", ("compute_80",))
    written = compiled.build([name], tmp_path)
    assert len(written) == 3
    assert {path.suffix for path in written} == {".cubin", ".ptx"}
    assert (tmp_path / "digest").read_text() == source_files.digest()


@pytest.mark.slow
@pytest.mark.parametrize("name", source_files.FILES)
def test_nvrtc_compiles_every_file_without_a_header(name: str) -> None:
    try:
        nvrtc.load()
    except MissingDependency as missing:
        pytest.skip(str(missing))
    assert compiled.compile_source(name, "compute_80").lstrip().startswith(b"//")
    assert compiled.compile_source(name, "sm_90").startswith(b"\x7fELF")


def test_what_nvrtc_refuses_is_told(tmp_path: Path) -> None:
    try:
        nvrtc.load()
    except MissingDependency as missing:
        pytest.skip(str(missing))
    (tmp_path / "wrong.cu").write_text("int x = ;")
    with pytest.raises(BuildFailed, match=r"NVRTC refuses wrong.cu for sm_80: .*error"):
        nvrtc.compile_file(tmp_path / "wrong.cu", "sm_80")
