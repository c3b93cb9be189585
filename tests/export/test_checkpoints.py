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
    InputError,
    LimitExceeded,
    MienError,
    NonFiniteWeights,
    UnsafeFile,
)
from mien_export.checkpoints import mean_w, read_safetensors, read_state_dict, read_stylegan2
from mien_export.export import export


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
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), UnsafeFile, "HDF5"),
    "onnx": (b"\x08\x0a\x12\x07pytorch" + bytes(64), ArchMismatch, "ONNX"),
    "text": (b"weights go here", CorruptFile, "no known kind"),
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


def test_an_exported_program_is_refused_as_a_program(tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("p/archive_format", "p/models/model.json", "p/data/weights/w.pt"):
            archive.writestr(name, b"pt2")
    with pytest.raises(UnsafeFile, match=r"torch\.export"):
        read_stylegan2(path)


def test_a_missing_file_is_the_callers_error(tmp_path: Path) -> None:
    for read in (read_stylegan2, read_state_dict, read_safetensors):
        with pytest.raises(InputError, match="is not a file"):
            read(tmp_path / "none")


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
        export("stylegan2", path, tmp_path / "bundle")
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


def test_a_stylegan1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"g_mapping.dense0.weight": torch.ones(2, 2)}, path)
    with pytest.raises(ArchMismatch, match="StyleGAN1"):
        read_stylegan2(path)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("mapping.w_avg", torch.zeros(7), r"w_avg has shape \(7,\), expected \(512,\)"),
        ("synthesis.b8.resample_filter", torch.zeros(2, 2), r"filter has shape \(2, 2\)"),
        ("synthesis.b8.conv2.weight", torch.zeros(7), r"no place for.* synthesis\.b8\.conv2"),
        ("synthesis.b999999.conv1.bias", torch.zeros(7), r"no place for.* synthesis\.b999999"),
    ],
)
def test_tensors_of_other_shapes_and_places_are_named(
    tmp_path: Path, name: str, value: torch.Tensor, text: str
) -> None:
    tensors = golden_tensors("nvlabs-ada-64") | {name: value}
    with pytest.raises(ArchMismatch, match=text):
        read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors))


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"conv_clamp": [1]}, "clamps a layer at a list"),
        ({"conv_clamp": 128}, "clamps its layers at"),
        ({"conv_clamp": float("nan")}, "clamps a layer at nan"),
        ({"activation": "relu"}, "activation is relu, expected lrelu"),
        ({3: 4, "_modules": {"a": 5}}, "module a is 5"),
        ({"_parameters": {"a": 5}}, "a is 5, expected a tensor"),
        ({"_parameters": 5}, "_parameters is 5, expected a dict"),
    ],
)
def test_modules_of_another_make_are_refused(
    tmp_path: Path, attributes: dict[Any, Any], text: str
) -> None:
    made = module("Generator", golden_tensors("nvlabs-ada-64"), "", clamp=256)
    made.state.update(attributes)
    path = tmp_path / "other.pkl"
    with fake_modules():
        path.write_bytes(pickle.dumps({"G_ema": made}))
    with pytest.raises(MienError, match=text):
        read_stylegan2(path)


def test_nothing_that_is_named_can_be_given_a_state(tmp_path: Path) -> None:
    before = torch._utils._rebuild_tensor_v2.__defaults__
    path = tmp_path / "build.pkl"
    path.write_bytes(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\0\0\0aNsb.")
    with pytest.raises(UnsafeFile, match="sets the state"):
        read_stylegan2(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ is before


# The first readings import what they need of the standard library; then nothing more may happen.
WATCHED = """
import sys
from pathlib import Path
from mien_engines.errors import MienError
from mien_export.checkpoints import read_stylegan2
def read_all():
    for path in map(Path, sys.argv[2:]):
        try:
            read_stylegan2(path)
        except MienError:
            pass
honest = read_stylegan2(Path(sys.argv[1]))
seen = []
watched = ("os.system", "subprocess.Popen", "socket.connect", "pickle.find_class", "exec", "import")
sys.addaudithook(lambda event, _: seen.append(event) if event in watched else None)
read_all()
print(sorted(set(seen)), [m for m in ("torch", "torch_utils", "dnnlib") if m in sys.modules])
"""


def test_the_interpreter_sees_no_call_no_import_and_no_code(
    tmp_path: Path, nvlabs_pkl: Path, rosinality_pt: Path
) -> None:
    trap = tmp_path / "trap.pkl"
    trap.write_bytes(pickle.dumps({"G_ema": Canary(tmp_path / "canary")}))
    paths = [str(path) for path in (rosinality_pt, nvlabs_pkl, trap)]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] []"


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


@pytest.mark.parametrize("length", [0x128, 0x178, 0x528, 0x9C78])
def test_safetensors_are_told_whatever_their_header_measures(tmp_path: Path, length: int) -> None:
    """The first bytes are that length: of a file with 0x28 of them, what a pickle begins with."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = length.to_bytes(8, "little") + header.ljust(length) + np.float32(2).tobytes()
    (tmp_path / "x").write_bytes(content)
    np.testing.assert_array_equal(read_safetensors(tmp_path / "x")["a"], [2])


def test_mean_w_is_that_of_torch(nvlabs_pkl: Path) -> None:
    from mien_export.families.stylegan2 import generator_from_checkpoint

    read = read_stylegan2(nvlabs_pkl)
    z = np.random.RandomState(42).randn(500, 512).astype(np.float32)
    expected = generator_from_checkpoint(read).mapping(torch.from_numpy(z)).mean(0)
    np.testing.assert_allclose(mean_w(read.tensors, 500, 42), expected, rtol=0, atol=1e-4)


def test_reading_needs_no_torch() -> None:
    code = "import sys, mien_export.checkpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
