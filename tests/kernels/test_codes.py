"""Mixing and Adam on the GPU: the bits of NumPy, and the steps of torch's optimiser."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import InputError as SdkInputError
from mien.ops.adam import adam as adam_definition
from mien.ops.mix import mix as mix_definition
from mien_engines.errors import InputError
from mien_engines.kernels.codes import adam, mix
from tests.kernels.emulation import Emulation, Guarded

Array = NDArray[Any]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 18, 64)])
def test_mixing_gives_the_bits_of_numpy(
    rng: np.random.Generator, kernels: ctypes.CDLL, shape: tuple[int, ...]
) -> None:
    content, style = (rng.standard_normal((2, *shape)) * 30).astype(np.float32)
    weight = rng.uniform(-1, 2, shape[1]).astype(np.float32)
    weight[:2] = (1, 0)[: shape[1]]
    for a, b in ((content, style), (content[:1], style), (content, style[:1])):
        out = Guarded(np.zeros(shape, np.float32))
        mix(Emulation(kernels, seed=3), Guarded(a), Guarded(b), Guarded(weight), out=out)
        np.testing.assert_array_equal(out.value, mix_definition(a, b, weight, impl="ref"))


def state(rng: np.random.Generator, shape: tuple[int, ...], steps: int) -> tuple[Array, Array]:
    """A code, and a gradient for each step, some of them zero and some tiny."""
    gradients = rng.standard_normal((steps, *shape)) * np.exp(rng.uniform(-9, 5, (steps, *shape)))
    gradients[:, 0] = 0
    return rng.standard_normal(shape).astype(np.float32), gradients.astype(np.float32)


def run(kernels: ctypes.CDLL, ws: Array, gradients: Array, rates: Array, t: int) -> list[Guarded]:
    """ws, m, v, t and the counter, after a step for each gradient; nothing else is passed on."""
    zeros = np.zeros_like(ws)
    held = [
        Guarded(a) for a in (ws, zeros, zeros, np.array([t], np.float32), np.zeros(4, np.uint8))
    ]
    for seed, gradient in enumerate(gradients):
        adam(
            Emulation(kernels, seed=seed), *held[:3], Guarded(gradient), rates=Guarded(rates),
            t=held[3], done=held[4],
        )  # fmt: skip
    return held


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 18, 31)])
def test_steps_follow_the_table_of_rates(
    rng: np.random.Generator, kernels: ctypes.CDLL, shape: tuple[int, ...]
) -> None:
    ws, gradients = state(rng, shape, 7)
    rates = rng.uniform(0.01, 0.1, 5).astype(np.float32)  # the last one stays
    found = run(kernels, ws, gradients, rates, 0)
    wanted = ws, np.zeros_like(ws), np.zeros_like(ws)
    for t, gradient in enumerate(gradients):
        wanted = adam_definition(*wanted, gradient, rates=rates, t=t)
    for array, exact in zip(found[:3], wanted, strict=True):
        np.testing.assert_allclose(array.value, exact, rtol=3e-6, atol=1e-6)
    assert found[3].value == [7]
    assert not found[4].value.any()  # ready for the next


def test_a_run_goes_on_where_it_was(rng: np.random.Generator, kernels: ctypes.CDLL) -> None:
    ws, gradients = state(rng, (2, 40, 17), 1)
    rates = np.linspace(0.2, 0.1, 2000).astype(np.float32)
    found = run(kernels, ws, gradients, rates, 1234)
    zeros = np.zeros_like(ws)
    wanted = adam_definition(ws, zeros, zeros, gradients[0], rates=rates, t=1234)
    for array, exact in zip(found[:3], wanted, strict=True):
        np.testing.assert_allclose(array.value, exact, rtol=3e-6, atol=1e-6)


def test_the_definition_is_adam_of_the_paper(rng: np.random.Generator) -> None:
    """Against the sums that its recursions stand for, Kingma and Ba 2015, section 3."""
    ws, gradients = state(rng, (2, 3, 4), 6)
    rates = np.array([0.1, 0.05, 0.2], np.float32)
    found = ws, np.zeros_like(ws), np.zeros_like(ws)
    exact, g = ws.astype(np.float64), gradients.astype(np.float64)
    for t in range(6):
        found = adam_definition(*found, gradients[t], rates=rates, t=t)
        age = np.arange(t, -1, -1)[:, None, None, None]
        mean = (0.9**age * g[: t + 1]).sum(0) / (0.9**age).sum()
        square = (0.999**age * g[: t + 1] ** 2).sum(0) / (0.999**age).sum()
        exact -= rates[min(t, 2)] * mean / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(found[0], exact, rtol=1e-5, atol=2e-6)


W, ROW = Guarded(np.zeros((2, 3, 4), np.float32)), Guarded(np.zeros(3, np.float32))
V, M, G = (Guarded(np.zeros((2, 3, 4), np.float32)) for _ in range(3))
T, DONE = Guarded(np.zeros(1, np.float32)), Guarded(np.zeros(4, np.uint8))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda e: mix(e, ROW, W, ROW, out=M), "content has shape"),
        (
            lambda e: mix(e, W, Guarded(np.zeros((3, 3, 4), np.float32)), ROW, out=M),
            "2 contents and 3",
        ),
        (lambda e: mix(e, W, G, T, out=M), "weight has shape"),
        (lambda e: mix(e, W, G, ROW, out=W), "out shares memory with an input"),
        (lambda e: mix(e, W, G, ROW, out=ROW), "out has shape"),
        (lambda e: adam(e, np.zeros(3), M, V, G, rates=ROW, t=T, done=DONE), "ws is ndarray"),
        (lambda e: adam(e, W, ROW, V, G, rates=ROW, t=T, done=DONE), "m has shape"),
        (lambda e: adam(e, W, M, M, G, rates=ROW, t=T, done=DONE), "m shares memory"),
        (lambda e: adam(e, W, M, V, W, rates=ROW, t=T, done=DONE), "ws shares memory"),
        (lambda e: adam(e, W, M, V, G, rates=W, t=T, done=DONE), "rates has shape"),
        (lambda e: adam(e, W, M, V, G, rates=ROW, t=ROW, done=DONE), "t has shape"),
        (lambda e: adam(e, W, M, V, G, rates=ROW, t=T, done=T), "done is float32, expected uint8"),
    ],
)
def test_wrong_inputs_are_named(kernels: ctypes.CDLL, call: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call(Emulation(kernels))


def test_the_definition_names_wrong_inputs() -> None:
    code, row = np.zeros((2, 3), np.float32), np.ones(1, np.float32)
    with pytest.raises(SdkInputError, match="gradient has shape"):
        adam_definition(code, code, code, row, rates=row, t=0)
    with pytest.raises(SdkInputError, match="rates is float64"):
        adam_definition(code, code, code, code, rates=np.ones(1), t=0)  # type: ignore[arg-type]
    with pytest.raises(SdkInputError, match="t is -1"):
        adam_definition(code, code, code, code, rates=row, t=-1)
