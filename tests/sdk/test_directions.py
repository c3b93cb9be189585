"""Edit directions: shapes, masks, files of three kinds, and files that lie."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mien import move
from mien.edits.directions import load_direction
from mien.errors import ArchMismatch, CorruptFile, InputError, LimitExceeded, ModelError, UnsafeFile

TENSOR = "torch._utils _rebuild_tensor_v2"


def torch_zip(
    values: np.ndarray[Any, Any],
    *,
    strides: tuple[int, ...] | None = None,
    kind: str = "FloatStorage",
    calls: str = TENSOR,
    shape: tuple[int, ...] | None = None,
    compress: int = zipfile.ZIP_STORED,
) -> bytes:
    """What torch.save writes for a tensor, made by hand: these tests need no torch."""
    shape = shape or values.shape
    strides = strides or tuple(s // values.itemsize for s in values.strides)

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def sizes(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    def name(value: str) -> bytes:
        return b"c" + value.replace(" ", "\n").encode() + b"\n"

    pickled = (
        b"\x80\x02" + name(calls) + b"((" + text("storage") + name(f"torch {kind}") + text("0")
        + text("cpu") + number(values.size) + b"tQ" + number(0) + sizes(shape) + sizes(strides)
        + b"\x89" + name("collections OrderedDict") + b")RtR."
    )  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", values.tobytes())
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(5,), (1, 5), (7, 5), (1, 7, 5)])
@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_a_direction_of_any_shape_is_added_where_the_mask_is_on(
    rng: np.random.Generator, shape: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    code = rng.standard_normal((*batch, 7, 5)).astype(np.float32)
    direction = rng.standard_normal(shape).astype(np.float32)
    found = move(code, direction, -1.5, layers="1-3")
    rows = np.broadcast_to(direction.reshape(-1, 5), (7, 5))
    for i in range(7):
        added = -1.5 * rows[i] if 1 <= i <= 3 else 0
        np.testing.assert_allclose(found[..., i, :], code[..., i, :] + added, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.delete(found, [1, 2, 3], -2), np.delete(code, [1, 2, 3], -2))


def test_what_is_no_direction_is_refused(rng: np.random.Generator) -> None:
    code = rng.standard_normal((7, 5))
    with pytest.raises(ArchMismatch, match=r"shape \(1, 6\), the code \(7, 5\)"):
        move(code, np.zeros(6))
    with pytest.raises(ArchMismatch, match="another generator"):
        move(code, np.zeros((6, 5)))
    with pytest.raises(InputError, match="NaN"):
        move(code, np.full(5, np.nan))
    with pytest.raises(InputError, match=r"\(2, 7, 5\), expected"):
        move(code, np.zeros((2, 7, 5)))
    with pytest.raises(InputError, match="strength is inf"):
        move(code, np.zeros(5), float("inf"))


@pytest.mark.parametrize("shape", [(6,), (1, 6), (1, 3, 6)])
def test_the_three_kinds_of_file_hold_the_same(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    values = rng.standard_normal(shape).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "a.pt").write_bytes(torch_zip(values))
    save_file({"anything": values}, tmp_path / "a.safetensors")
    for suffix in ("npy", "pt", "safetensors"):
        found = load_direction(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(found, values.reshape(-1, 6))


@pytest.mark.parametrize("kind", ["FloatStorage", "DoubleStorage", "HalfStorage"])
def test_other_precisions_become_float32(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    dtype = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2"}[kind]
    values = rng.standard_normal((3, 4)).astype(dtype)
    (tmp_path / "a.pt").write_bytes(torch_zip(values, kind=kind))
    np.testing.assert_array_equal(
        load_direction(tmp_path / "a.pt"), values.astype(np.float32), strict=True
    )


def test_one_of_several_tensors_is_the_one_called_direction(tmp_path: Path) -> None:
    several = {"direction": np.ones((2, 3), np.float32), "mask": np.ones(2, np.uint8)}
    save_file(several, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_direction(tmp_path / "a.safetensors"), 1)
    save_file({"a": np.ones(3), "b": np.ones(3)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="holds 2 tensors"):
        load_direction(tmp_path / "b.safetensors")


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('attacked', 'w')",)


def test_nothing_of_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.zeros((1, 4), np.float32)
    evil = {"call": pickle.dumps(Attack(), 2), "long": b"(" * 10_000 + b"."}
    for name, pickled in evil.items():
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
    for data in (
        *(Path(name).read_bytes() for name in evil),
        torch_zip(values, calls="os system"),
        torch_zip(values, kind="LongStorage"),
        torch_zip(values, kind="x\nopcode"),
    ):
        Path("a.pt").write_bytes(data)
        with pytest.raises((UnsafeFile, CorruptFile)):
            load_direction("a.pt")
    assert not Path("attacked").exists()


def test_a_tensor_that_reaches_out_of_its_file_is_refused(tmp_path: Path) -> None:
    values, path = np.zeros((2, 4), np.float32), tmp_path / "a.pt"
    for shape, strides in (((2, 5), (5, 1)), ((2, 4), (0, 1)), ((4, 2), (1, 4)), ((-2, 4), (4, 1))):
        path.write_bytes(torch_zip(values, shape=shape, strides=strides))
        with pytest.raises((CorruptFile, UnsafeFile)):
            load_direction(path)
    path.write_bytes(torch_zip(values, compress=zipfile.ZIP_DEFLATED))
    with pytest.raises(LimitExceeded, match="compressed"):
        load_direction(path)


def test_a_damaged_file_is_a_typed_error(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.standard_normal((2, 8)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "a.pt").write_bytes(torch_zip(values))
    save_file({"a": values}, tmp_path / "a.safetensors")
    for suffix in ("npy", "pt", "safetensors"):
        path = tmp_path / f"a.{suffix}"
        whole = path.read_bytes()
        for _ in range(60):
            mutant = bytearray(whole[: rng.integers(len(whole) // 2, len(whole) + 1)])
            for place in rng.integers(0, len(mutant), 3):
                mutant[place] = rng.integers(0, 256)
            path.write_bytes(mutant)
            try:
                load_direction(path)
            except (ModelError, InputError):
                pass
    with pytest.raises(InputError, match=r"Name a file \.npy, \.pt, \.safetensors"):
        load_direction(tmp_path / "a.txt")
    for suffix in ("npy", "pt", "safetensors"):
        with pytest.raises(CorruptFile):
            load_direction(tmp_path / f"missing.{suffix}")


def test_published_directions_move_published_codes(shared: Path) -> None:
    folder = shared / "data" / "weights" / "stylegan2_ffhq_latents"
    codes = np.load(folder / "styleclip_w_plus.npy").reshape(-1, 18, 512)
    assert len(codes) == 68
    for name, rows in (("age", 1), ("smile", 1), ("pose", 18)):
        direction = load_direction(folder / f"interfacegan_{name}.pt")
        assert direction.shape == (rows, 512)
        # InterFaceGAN's directions are normals of unit length.
        np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, rtol=1e-5)
        found = move(codes, direction, 3.0, layers="4-7")
        along = ((found - codes) * direction).sum(-1)
        expected = np.where(np.isin(np.arange(18), [4, 5, 6, 7]), 3.0, 0.0)
        np.testing.assert_allclose(along, np.broadcast_to(expected, along.shape), atol=1e-4)
    with pytest.raises(UnsafeFile, match="something else than one tensor"):
        load_direction(folder / "ganspace_ffhq_pca.pt")
