"""Files that are small and want much, or that lead a reader in circles."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.golden.foreign import rosinality_checkpoint

from mien_engines.errors import CorruptFile, LimitExceeded, MienError, UnsafeFile
from mien_export.checkpoints import read_state_dict, read_stylegan2

MIB = 1 << 20

PROTOCOL = b"\x80\x02"
# t = (t, t), sixty times: nothing to hold, 2^60 items to print, hash or compare
DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + PROTOCOL + b"M\xe9\x03."


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def network(class_name: bytes, state: bytes, version: bytes = b"K\x06") -> bytes:
    """Opcodes that leave one of NVlabs' modules on the stack."""
    return (
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("
        + text("type")
        + text("class")
        + text("version")
        + version
        + text("module_src")
        + text("")
        + text("class_name")
        + class_name
        + text("state")
        + state
        + b"u\x85R"
    )


def generator(module: bytes, before: bytes = b"") -> bytes:
    return PROTOCOL + before + b"}" + text("G_ema") + module + b"s."


def own_child() -> bytes:
    """A file whose dict of children, already in a module, then gets that module."""
    made = network(text("G"), b"}" + text("_modules") + b"}q\x05s") + b"q\x06"
    put = b"h\x05" + text("again") + b"h\x06s"
    return PROTOCOL + b"}(" + text("G_ema") + made + text("rest") + put + b"u."


def pairs_of_pairs() -> bytes:
    made = network(text("G"), b"}") + b"q\x06"
    for _ in range(40):
        children = b"}" + text("a") + b"h\x06s" + text("b") + b"h\x06s"
        made += network(text("G"), b"}" + text("_modules") + children + b"s") + b"q\x06"
    return generator(b"h\x06", before=made)


def encoded_again_and_again() -> bytes:
    made = text("a" * MIB) + b"q\x00" + text("latin1") + b"q\x01c_codecs\nencode\nq\x02"
    return PROTOCOL + made + b"h\x02h\x00h\x01\x86R" * 1000 + b"."


def set_again_and_again() -> bytes:
    made = b"](" + b"N" * 200_000 + b"e\x85q\x01cbuiltins\nset\nq\x02"
    return PROTOCOL + made + b"h\x02h\x01R" * 500 + b"."


def state_again_and_again() -> bytes:
    state = b"}(" + b"".join(text(f"{i:05}") + b"N" for i in range(20_000)) + b"uq\x00"
    return PROTOCOL + state + b"cargparse\nNamespace\nq\x01" + b"h\x01)Rh\x00b" * 500 + b"."


def colliding_keys() -> bytes:
    modulus = 2**61 - 1  # of hash(int)
    keys = (b"\x8a\x0c" + (i * modulus).to_bytes(12, "little") + b"N" for i in range(1, 9000))
    return PROTOCOL + b"}(" + b"".join(keys) + b"u."


BOMBS: dict[str, bytes] = {
    "a memo index of 268 million": b"\x80\x02}r\xff\xff\xff\x0f.",
    "a promise of a terabyte": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
    "an announced 4 GB of text": b"\x80\x02X\xff\xff\xff\xff.",
    "nesting": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "DUP, which data do not use": b"\x80\x02)" + b"2\x86" * 60 + b".",
    "a doubled tuple as a class name": generator(network(b"h\x00", b"}"), before=DOUBLED),
    "a doubled tuple as a version": generator(network(text("G"), b"}", b"h\x00"), before=DOUBLED),
    "a doubled tuple that is called": PROTOCOL + DOUBLED + b")R.",
    "a doubled tuple as a module's name": b"\x80\x04" + DOUBLED + b"\x8c\x01x\x93.",
    "a doubled tuple as a dict's key": PROTOCOL + DOUBLED + b"q\x01}h\x01Ns.",
    "a doubled tuple as a storage's key": LEGACY
    + PROTOCOL
    + b"}."
    + PROTOCOL
    + DOUBLED
    + b"q\x01("
    + text("storage")
    + b"ctorch\nFloatStorage\nh\x01"
    + text("cpu")
    + b"K\x01tQ.",
    "a doubled tuple among a stream's keys": LEGACY
    + PROTOCOL
    + b"}."
    + PROTOCOL
    + b"}."
    + PROTOCOL
    + DOUBLED
    + b"\x85.",
    "a module that is its own child": own_child(),
    "modules that share children": pairs_of_pairs(),
    "a text that is encoded a thousand times": encoded_again_and_again(),
    "a list that is made a set 500 times": set_again_and_again(),
    "a state that 500 objects share": state_again_and_again(),
    "keys that collide": colliding_keys(),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_that_want_much_end_in_a_typed_error(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[bomb])
    tracemalloc.start()
    try:
        with pytest.raises(MienError) as caught:
            read_stylegan2(path)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "head",
    [b"\x80", LEGACY, LEGACY + PROTOCOL + b"N.", LEGACY + (PROTOCOL + b"}.") * 2 + b"K\x05."],
)
def test_streams_that_are_no_streams_are_corrupt(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(head)
    with pytest.raises(CorruptFile):
        read_stylegan2(path)


def test_an_error_repeats_foreign_names_short_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    name = "os\n\x1b[31m" + "m" * 100_000
    path.write_bytes(PROTOCOL + text(name) + text("system") + b"\x93.")
    with pytest.raises(UnsafeFile) as caught:
        read_stylegan2(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_storage_under_many_names_is_refused(tmp_path: Path) -> None:
    one = torch.zeros(100_000)
    torch.save({f"k{i}": one for i in range(1000)}, tmp_path / "many.pt")
    with pytest.raises(LimitExceeded, match="share"):
        read_state_dict(tmp_path / "many.pt")


def test_tied_weights_are_read(tmp_path: Path) -> None:
    one = torch.randn(10, 10)
    torch.save({"a": one, "b": one.T}, tmp_path / "tied.pt")
    found = read_state_dict(tmp_path / "tied.pt")
    assert (found["a"] == found["b"].T).all()


def archive(path: Path, change: Callable[[bytearray], None]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02}.")
        file.writestr("a/data/0", b"12345678")
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def encrypt(content: bytearray) -> None:
    content[content.find(b"PK\x01\x02") + 8] |= 1


def enlarge(content: bytearray) -> None:
    """Both sizes of the second entry, in the directory: a terabyte's worth of 32 bits."""
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)


def promise(content: bytearray) -> None:
    """Only the unpacked size."""
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 1 << 30)


def misplace(content: bytearray) -> None:
    """Let the second entry begin where the first one does."""
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 42 : entry + 46] = bytes(4)


@pytest.mark.parametrize("change", [encrypt, enlarge, promise, misplace])
def test_archives_with_dishonest_directories_are_refused(
    tmp_path: Path, change: Callable[[bytearray], None]
) -> None:
    with pytest.raises(MienError) as caught:
        read_stylegan2(archive(tmp_path / "bad.pt", change))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noises.noise_9999999999", torch.zeros(1, 1, 4, 4)),
        ("to_rgbs.9999999999.bias", torch.zeros(1, 3, 1, 1)),
        ("style." + "9" * 5000 + ".bias", torch.zeros(512)),
        ("input.input", torch.tensor(1.0)),
        ("noises.noise_0", torch.zeros(3)),
        ("conv1.conv.weight", torch.zeros(3)),
        ("conv1.noise.weight", torch.zeros(2)),
        ("convs.0.unknown", torch.zeros(2)),
    ],
)
def test_odd_names_and_shapes_are_typed_errors(
    tmp_path: Path, name: str, value: torch.Tensor
) -> None:
    checkpoint = rosinality_checkpoint()
    checkpoint["g_ema"][name] = value
    torch.save(checkpoint, tmp_path / "odd.pt")
    with pytest.raises(MienError, match=name[:20].replace(".", r"\.")):
        read_stylegan2(tmp_path / "odd.pt")


SAFETENSORS: dict[str, bytes] = {
    "two entries of one name": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    "overlapping entries": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    b'"b":{"dtype":"F32","shape":[1],"data_offsets":[2,8]}}',
    "a size that overflows": b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],'
    b'"data_offsets":[0,8]}}',
    "offsets backwards": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}',
    "no JSON": b"{'a'}",
    "a dtype that is not read": b'{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}',
}


@pytest.mark.parametrize("fault", SAFETENSORS)
def test_damaged_safetensors_are_corrupt(tmp_path: Path, fault: str) -> None:
    header = SAFETENSORS[fault]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(CorruptFile):
        read_state_dict(path)


def test_a_safetensors_header_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}" + bytes(8))
    with pytest.raises(CorruptFile):
        read_state_dict(path)
