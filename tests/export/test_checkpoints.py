"""Foreign files: hostile, damaged, of another kind. One typed error each, and nothing is run."""

from __future__ import annotations

import argparse
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.golden.foreign import (
    fake_modules,
    golden_tensors,
    module,
    rosinality_checkpoint,
    write_nvlabs_pkl,
)

from mien_engines.errors import (
    ArchMismatch,
    CorruptFile,
    LimitExceeded,
    MienError,
    NonFiniteWeights,
    UnsafeFile,
)
from mien_export.checkpoints import mean_w, read_state_dict, read_stylegan2
from mien_export.families.stylegan2 import Options, export_stylegan2


class Canary:
    """Would make a file, were it unpickled by anything that calls."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_is_refused_and_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    trap, canary = tmp_path / "trap.pkl", tmp_path / "canary"
    trap.write_bytes(pickle.dumps({"G_ema": Canary(canary)}, protocol))
    with pytest.raises(UnsafeFile):
        read_stylegan2(trap)
    assert not canary.exists()


def test_a_call_hidden_in_a_torch_archive_is_refused(tmp_path: Path) -> None:
    trap, canary = tmp_path / "trap.pt", tmp_path / "canary"
    torch.save({"g_ema": Canary(canary)}, trap)
    with pytest.raises(UnsafeFile, match=r"open"):
        read_stylegan2(trap)
    assert not canary.exists()


def test_a_call_hidden_in_a_nested_storage_is_refused(tmp_path: Path) -> None:
    canary, inner = tmp_path / "canary", io.BytesIO()
    torch.save({"x": Canary(canary)}, inner, _use_new_zipfile_serialization=False)

    class Nested:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    trap = tmp_path / "trap.pkl"
    trap.write_bytes(pickle.dumps({"G_ema": Nested()}))
    with pytest.raises(UnsafeFile):
        read_stylegan2(trap)
    assert not canary.exists()


def test_a_module_source_that_would_run_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w')"
    path = write_nvlabs_pkl(tmp_path / "n.pkl", golden_tensors("nvlabs-ada-64"), source)
    assert read_stylegan2(path).format == "nvlabs-pkl"
    assert not canary.exists()


BOMBS = {
    "a memo index of 268 million": b"\x80\x02}r\xff\xff\xff\x0f.",
    "a promise of a terabyte": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
    "nesting": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "doubling": b"\x80\x02)" + b"2\x86" * 60 + b".",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_end_in_a_typed_error(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[bomb])
    with pytest.raises(MienError):
        read_stylegan2(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(20_000_000))
    with pytest.raises(LimitExceeded, match="compresses"):
        read_stylegan2(path)


KINDS: dict[str, tuple[bytes, type[MienError], str]] = {
    "empty": (b"", CorruptFile, "is empty"),
    "web page": (b"<!DOCTYPE html><html>", CorruptFile, "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1", CorruptFile, "git-lfs"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), ArchMismatch, "HDF5"),
    "noise": (b"\x00\x01\x02\x03" * 64, CorruptFile, "no known kind"),
    "gzip": (b"\x1f\x8b" + bytes(64), CorruptFile, "compressed"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_files_are_named(tmp_path: Path, kind: str) -> None:
    content, error, text = KINDS[kind]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(error, match=text):
        read_stylegan2(path)


def test_torchscript_is_refused_as_a_program(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x/data.pkl", "x/constants.pkl", "x/code/net.py"):
            archive.writestr(name, b"")
    with pytest.raises(UnsafeFile, match="TorchScript"):
        read_stylegan2(path)


def tampered(change: Callable[[dict[str, Any]], None], path: Path) -> Path:
    checkpoint = rosinality_checkpoint()
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def drop(checkpoint: dict[str, Any]) -> None:
    del checkpoint["g_ema"]["convs.0.activate.bias"]


def reshape(checkpoint: dict[str, Any]) -> None:
    checkpoint["g_ema"]["convs.1.conv.modulation.bias"] = torch.zeros(3)


def poison(checkpoint: dict[str, Any]) -> None:
    checkpoint["g_ema"]["convs.1.conv.weight"][0, 0, 0, 0, 0] = float("nan")


def unwrap(checkpoint: dict[str, Any]) -> None:
    checkpoint["model"] = checkpoint.pop("g_ema")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (drop, ArchMismatch, r"lacks 1 of .* synthesis\.b8\.conv0\.bias"),
        (reshape, ArchMismatch, r"b8\.conv1\.affine\.bias has shape \(3,\), expected \(512,\)"),
        (poison, NonFiniteWeights, r"convs\.1\.conv\.weight holds NaN"),
        (unwrap, ArchMismatch, "has no g_ema; it holds latent_avg, model"),
    ],
)
def test_wrong_networks_leave_one_error_and_no_bundle(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], error: type[MienError], text: str
) -> None:
    path = tampered(change, tmp_path / "wrong.pt")
    with pytest.raises(error, match=text) as caught:
        export_stylegan2(path, tmp_path / "bundle", Options())
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.pt"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("synthesis.input.freqs", "StyleGAN3"),
        ("mapping.embed.weight", "class-conditional"),
        ("synthesis.b8.skip.weight", "resnet"),
    ],
)
def test_relatives_are_named(tmp_path: Path, name: str, text: str) -> None:
    tensors = golden_tensors("nvlabs-ada-64") | {name: torch.zeros(2, 2)}
    with pytest.raises(ArchMismatch, match=text):
        read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors))


def test_a_legacy_tensorflow_pickle_names_the_way_to_convert(tmp_path: Path) -> None:
    content = b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81}b."
    path = tmp_path / "old.pkl"
    path.write_bytes(content)
    with pytest.raises(ArchMismatch, match=r"TensorFlow.*legacy\.py"):
        read_stylegan2(path)


def test_hooks_are_refused(tmp_path: Path) -> None:
    hooked = module("Generator", golden_tensors("nvlabs-ada-64"), "", _forward_hooks={1: 2})
    path = tmp_path / "hooked.pkl"
    with fake_modules():
        path.write_bytes(pickle.dumps({"G_ema": hooked}))
    with pytest.raises(UnsafeFile, match="_forward_hooks"):
        read_stylegan2(path)


def test_truncation_anywhere_is_a_typed_error(rosinality_pt: Path, tmp_path: Path) -> None:
    whole = rosinality_pt.read_bytes()
    path = tmp_path / "cut.pt"
    for percent in range(2, 100, 7):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(MienError):
            read_stylegan2(path)


def test_damaged_bytes_leave_typed_errors_only(tmp_path: Path, rng: np.random.Generator) -> None:
    small = {"G_ema": module("Generator", {"mapping.fc0.weight": torch.ones(2, 2)}, "x")}
    with fake_modules():
        whole = bytearray(pickle.dumps(small, 4))
    path = tmp_path / "flipped.pkl"
    for _ in range(400):
        flipped = whole.copy()
        flipped[int(rng.integers(len(whole)))] = int(rng.integers(256))
        path.write_bytes(flipped)
        with pytest.raises(MienError):
            read_stylegan2(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_come_out_bit_for_bit(tmp_path: Path, legacy: bool) -> None:
    torch.manual_seed(3)
    state = {
        "a": torch.randn(3, 5, 7).transpose(0, 2),
        "b": torch.randn(4).half(),
        "c": torch.randn(6).bfloat16(),
        "d": torch.arange(5),
        "e": torch.tensor(2.5),
    }
    path = tmp_path / "state.pt"
    torch.save(
        {"model": state, "args": argparse.Namespace(size=256), "epoch": 3},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    found = read_state_dict(path)
    assert set(found) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.float().numpy())


def test_mean_w_is_that_of_torch(nvlabs_pkl: Path) -> None:
    from mien_export.families.stylegan2 import generator_from_checkpoint

    read = read_stylegan2(nvlabs_pkl)
    z = np.random.RandomState(42).randn(500, 512).astype(np.float32)
    expected = generator_from_checkpoint(read).mapping(torch.from_numpy(z)).mean(0)
    np.testing.assert_allclose(mean_w(read.tensors, 500, 42), expected, rtol=0, atol=1e-4)


def test_reading_needs_no_torch() -> None:
    code = "import sys, mien_export.checkpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
