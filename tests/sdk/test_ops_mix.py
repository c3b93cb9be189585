"""Mixing codes: the same bits from the definition, the compiled twins, and `mien.mix`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.sdk.ops import NAMES, use

import mien
from mien.edits.latents import layer_weights
from mien.errors import InputError
from mien.ops.mix import mix

Array = NDArray[Any]
SHAPES = [(1, 1, 1), (3, 5, 7), (2, 18, 512), (64, 18, 129)]


def codes(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    content, style = (rng.standard_normal((2, *shape)) * 30).astype(np.float32)
    weight = rng.uniform(-1, 2, shape[1]).astype(np.float32)
    weight[:2] = (1, 0)[: shape[1]]
    return content, style, weight


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_compiled_twin_gives_the_same_bits(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], isa: str
) -> None:
    use(monkeypatch, isa)
    content, style, weight = codes(rng, shape)
    for a, b in ((content, style), (content[:1], style), (content, style[:1])):
        wanted = mix(a, b, weight, impl="ref")
        np.testing.assert_array_equal(mix(a, b, weight, impl="native", threads=2), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_an_interpolation(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    content, style, weight = codes(rng, shape)
    found = mix(content, style, weight)
    w = weight[:, None].astype(np.float64)
    np.testing.assert_allclose(
        found, w * content + (1 - w) * style, rtol=0, atol=1e-6 * np.abs(found).max()
    )
    np.testing.assert_array_equal(found[:, 0], content[:, 0])  # of weight 1


@pytest.mark.parametrize("psi", [0.0, 1.0, 0.3, -0.5])
def test_it_is_what_mien_mix_does(rng: np.random.Generator, psi: float) -> None:
    content, style, _ = codes(rng, (2, 18, 16))
    weight = layer_weights("fine", 18, psi)
    wanted = mien.mix(content, style, layers="fine", psi=psi)
    np.testing.assert_array_equal(mix(content, style, weight), wanted)


A = np.zeros((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((A[0], A, A[0, :, 0].copy()), "content has shape"),
        ((A, A[:, :2].copy(), A[0, :, 0].copy()), "style has shape"),
        ((A, A[:, :, :2].copy(), A[0, :, 0].copy()), "style has shape"),
        ((A, np.zeros((3, 3, 4), np.float32), A[0, :, 0].copy()), "2 contents and 3 styles"),
        ((A, A, A[0, 0].copy()), "weight has shape"),
        ((A.astype(np.float64), A, A[0, :, 0].copy()), "content is float64"),
    ],
)
def test_wrong_inputs_are_named(arguments: tuple[Array, Array, Array], text: str) -> None:
    with pytest.raises(InputError, match=text):
        mix(*arguments)


def test_the_result_must_lie_elsewhere() -> None:
    with pytest.raises(InputError, match="out shares memory with an input"):
        mix(A, A.copy(), A[0, :, 0].copy(), out=A)
