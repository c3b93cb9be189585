"""Mixing codes, naming layers, keeping codes in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mien import layer_range, mix
from mien.edits.latents import layer_px, load_code, save_code
from mien.errors import CorruptFile, InputError


@pytest.mark.parametrize("psi", [0.0, 0.3, -0.5])
def test_mix_is_the_published_interpolation(rng: np.random.Generator, psi: float) -> None:
    content, style = rng.standard_normal((2, 18, 7)).astype(np.float32)
    expected = content.copy()
    for i in range(9, 18):
        expected[i] = style[i] + psi * (content[i] - style[i])
    found = mix(content, style, layers=range(9, 18), psi=psi)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[:9], content[:9])


def test_full_weight_of_the_content_changes_no_bit(rng: np.random.Generator) -> None:
    content, style = rng.standard_normal((2, 3, 12, 5)).astype(np.float32) * 1e3
    np.testing.assert_array_equal(mix(content, style, layers="all", psi=1.0), content)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("coarse", (0, 1, 2, 3)),
        ("middle", (4, 5, 6, 7)),
        ("fine", (8, 9, 10, 11)),
        ("all", tuple(range(12))),
        ("9-11", (9, 10, 11)),
        ("0,4-5, 4", (0, 4, 5)),
        (3, (3,)),
        (range(2), (0, 1)),
        ("4px", (0,)),
        ("4-8px", (0, 1, 2)),
        ("4px-8px", (0, 1, 2)),
        ("64px+", (7, 8, 9, 10, 11)),
        ("128px", (9, 10, 11)),
        ("0, 16-32px", (0, 3, 4, 5, 6)),
        ("4px+", tuple(range(12))),
    ],
)
def test_layers_are_understood(layers: str | int | range, expected: tuple[int, ...]) -> None:
    assert layer_range(layers, 12) == expected


def test_the_published_layers_of_1024_px_are_128_px_and_finer() -> None:
    assert [layer_px(i, 18) for i in range(18)] == [
        4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 1024,
    ]  # fmt: skip
    assert layer_range("128px+", 18) == tuple(range(9, 18))


@pytest.mark.parametrize("px", ["256px+", "5px", "4-256px", "12px", "0px"])
def test_resolutions_that_are_not_there_are_named(px: str) -> None:
    with pytest.raises(InputError, match=r"px do not exist.*4, 8, 16, 32, 64, 128 px"):
        layer_range(px, 12)


def test_each_layer_may_have_its_own_psi(rng: np.random.Generator) -> None:
    content, style = rng.standard_normal((2, 7, 3)).astype(np.float32)
    psi = rng.uniform(-1, 2, 7).astype(np.float32)
    found = mix(content, style, layers="2-5", psi=psi)
    for i in range(7):
        lerp = style[i] + psi[i] * (content[i] - style[i])
        np.testing.assert_allclose(found[i], lerp if 2 <= i <= 5 else content[i], rtol=1e-6)


@pytest.mark.parametrize("psi", [[0.0] * 6, [[0.0] * 7], np.nan])
def test_psi_of_other_layers_is_refused(psi: ArrayLike) -> None:
    with pytest.raises(InputError, match="expected a number, or 7 of them"):
        mix(np.zeros((7, 3)), np.zeros((7, 3)), psi=psi)


@pytest.mark.parametrize(
    "layers", ["9-12", "eyes", "", "1-", "-1", "px", "8+", "64+px", "8px-4", [12], -1]
)
def test_layers_that_are_not_there_are_named(layers: str | int | list[int]) -> None:
    with pytest.raises(InputError, match=r"layer"):
        layer_range(layers, 12)


def test_codes_of_different_generators_do_not_mix() -> None:
    with pytest.raises(InputError, match=r"style has shape \(14, 8\).*same generator"):
        mix(np.zeros((18, 8)), np.zeros((14, 8)))


def test_a_code_survives_its_file(tmp_path: Path, rng: np.random.Generator) -> None:
    code = rng.standard_normal((12, 5)).astype(np.float32)
    np.testing.assert_array_equal(load_code(save_code(code, tmp_path / "a.npy")), code)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_code_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match="mien project"):
        load_code(path)


def test_codes_with_nan_are_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        mix(np.full((12, 4), np.nan), np.zeros((12, 4)))


@pytest.mark.parametrize("layers", ["11-8", "8-4px", "0,7-3"])
def test_a_range_that_runs_backwards_is_not_an_empty_one(layers: str) -> None:
    with pytest.raises(InputError, match="run backwards"):
        layer_range(layers, 12)
