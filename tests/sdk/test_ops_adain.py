"""AdaIN: the definition against torch's words in float64, the compiled twins against both."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from tests.sdk.ops import NAMES, assert_close, isa_or_skip, use

from mien.errors import InputError, MissingDependency
from mien.ops import dispatch
from mien.ops.adain import adain

Array = NDArray[Any]
SHAPES = [(1, 1, 1, 1), (3, 7, 1, 1), (1, 1, 1, 2), (2, 3, 7, 5), (1, 70, 9, 33), (3, 33, 32, 32)]
LAYOUTS = ["NCHW", "NHWC"]


def inputs(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """x [N, C, H, W] of planes at all scales, the first constant; gamma, beta [N, C]."""
    n, c = shape[:2]
    x = rng.standard_normal(shape) * rng.uniform(0.01, 30, (n, c, 1, 1)) + 3
    x[:, 0] = 7.0
    gamma, beta = rng.standard_normal((2, n, c))
    return x.astype(np.float32), gamma.astype(np.float32), beta.astype(np.float32)


def formula(x: Array, gamma: Array, beta: Array) -> Array:
    """Eq. 8 of Huang and Belongie 2017 with eps, in float64, plane by plane."""
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape[:2]):
        plane = x[index].astype(np.float64)
        y[index] = gamma[index] * (plane - plane.mean()) / np.sqrt(plane.var() + 1e-5)
        y[index] += beta[index]
    return y


def laid_out(x: Array, layout: str) -> Array:
    return np.ascontiguousarray(x if layout == "NCHW" else x.transpose(0, 2, 3, 1))


def back(y: Array, layout: str) -> Array:
    return y if layout == "NCHW" else y.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_definition_is_the_published_formula(
    rng: np.random.Generator, shape: tuple[int, ...], layout: Any
) -> None:
    x, gamma, beta = inputs(rng, shape)
    found = adain(laid_out(x, layout), gamma, beta, layout=layout, impl="ref")
    assert_close(back(found, layout), formula(x, gamma, beta), 1e-6)


def test_every_step_comes_in_its_turn(rng: np.random.Generator) -> None:
    x, gamma, beta = inputs(rng, (2, 3, 4, 5))
    noise = rng.standard_normal((2, 4, 5)).astype(np.float32)
    strength = rng.standard_normal(3).astype(np.float32)
    h = x + strength[:, None, None].astype(np.float64) * noise[:, None]
    h = np.maximum(h, 0.2 * h)
    y = formula(h, gamma, beta)
    y = np.kron(np.maximum(y, 0.3 * y), np.ones((2, 2)))
    found = adain(
        x, gamma, beta, noise=noise, strength=strength, slope_before=0.2, slope=0.3, up=2,
        impl="ref",
    )  # fmt: skip
    assert_close(found, y, 1e-6)


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_compiled_twin_agrees(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    dtype: Any,
    layout: Any,
    isa: str,
) -> None:
    use(monkeypatch, isa)
    x, gamma, beta = inputs(rng, shape)
    x = laid_out(x.astype(dtype), layout)
    n, c, h, w = shape
    noise = rng.standard_normal((n, h, w)).astype(np.float32)
    strength = rng.standard_normal(c).astype(np.float32)
    noisy = {"noise": noise, "strength": strength, "slope_before": 0.2}
    shared = {"noise": noise[:1], "strength": strength}
    tolerance = 1e-5 if dtype is np.float32 else 1e-3  # half a unit of float16 is 2^-11
    cases: list[dict[str, Any]] = [{}, {"slope": 0.2}, {"slope": 0, "up": 2}, noisy, shared]
    for case in [*cases, {**noisy, "up": 2, "slope": 0.5}]:
        wanted = adain(x, gamma, beta, layout=layout, impl="ref", **case)
        found = adain(x, gamma, beta, layout=layout, impl="native", threads=2, **case)
        assert found.dtype == dtype
        assert_close(found.astype(np.float64), wanted.astype(np.float64), tolerance)


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_results_go_past_the_cache_all_the_same(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, isa: str, layout: Any
) -> None:
    use(monkeypatch, isa)
    for shape, up in (((1, 75, 211, 211), 1), ((1, 24, 180, 192), 2)):  # more than 12 MB
        x, gamma, beta = inputs(rng, shape)
        x = laid_out(x, layout)
        wanted = adain(x, gamma, beta, layout=layout, up=up, impl="ref")
        assert_close(adain(x, gamma, beta, layout=layout, up=up, impl="native", threads=1), wanted)


HARD = [
    "a large mean",
    "an outlier in front",
    "an outlier",
    "steps",
    "the largest numbers",
    "squares beyond float32",
    "constant",
    "tiny",
    "a ramp",
]


def hard_plane(kind: str, rng: np.random.Generator) -> Array:
    x = rng.standard_normal((1, 1, 90, 91))
    if kind == "a large mean":
        x += 1e6
    elif kind == "an outlier in front":
        x[..., 0, 0] = 1e7
    elif kind == "an outlier":
        x[..., 50, 50] = -1e9
    elif kind == "steps":  # a black edge: the first block says nothing of the rest
        x = np.where(np.arange(90)[:, None] < 40, 0, 1000 + 1e-3 * x)
    elif kind == "the largest numbers":
        x = np.sign(x) * 3.4e38
    elif kind == "squares beyond float32":
        x *= 1e25
    elif kind == "constant":
        x[:] = 1e8 / 3
    elif kind == "tiny":
        x *= 1e-30
    else:
        x[:] = np.arange(90 * 91).reshape(90, 91)
    return x.astype(np.float32)


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", HARD)
def test_hard_planes_agree_with_float64(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    layout: Any,
    isa: str,
) -> None:
    use(monkeypatch, isa)
    x = np.repeat(hard_plane(kind, rng), 65, 1)  # as many channels as take every path
    gamma, beta = np.full((1, 65), 1.5, np.float32), np.full((1, 65), -0.25, np.float32)
    found = adain(laid_out(x, layout), gamma, beta, layout=layout, impl="native")
    assert_close(back(found, layout)[:, :1], formula(x[:, :1], gamma, beta))
    for channel in range(1, 65):
        assert_close(back(found, layout)[:, channel], back(found, layout)[:, 0])


numbers = st.floats(-(2.0**127), 2.0**127, width=32) | st.floats(-10, 10, width=32)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 19), *[st.integers(1, 9)] * 2),
           elements=numbers),
    st.sampled_from(LAYOUTS),
)  # fmt: skip
def test_any_planes_agree_with_float64(x: Array, layout: Any) -> None:
    isa_or_skip("generic")
    gamma, beta = np.ones((2, *x.shape[:2]), np.float32)
    found = adain(laid_out(x, layout), gamma, beta, layout=layout, impl="native")
    assert_close(back(found, layout), formula(x, gamma, beta))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("impl", ["ref", "native"])
def test_a_plane_that_is_not_finite_becomes_nan_and_no_other(
    rng: np.random.Generator, impl: Any, value: float
) -> None:
    if impl == "native":
        isa_or_skip("generic")
    x, gamma, beta = inputs(rng, (1, 3, 40, 60))
    x[0, 1, 30, 5] = value
    for layout in LAYOUTS:
        y = back(adain(laid_out(x, layout), gamma, beta, layout=layout, impl=impl), layout)
        assert np.isnan(y[0, 1]).all()
        assert np.isfinite(y[0, [0, 2]]).all()


@pytest.mark.parametrize("impl", ["ref", "native"])
def test_every_float16_is_read_and_written(impl: Any) -> None:
    """Two numbers a plane, one of them the negative: gamma brings back what went in."""
    if impl == "native":
        isa_or_skip("generic")
    value = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16)  # all that are positive
    x = np.stack([value, -value], -1).reshape(1, -1, 1, 2)
    exact = value.astype(np.float64)
    gamma = np.sqrt(exact**2 + 1e-5).astype(np.float32)[None]
    y = adain(x, gamma, np.zeros_like(gamma), impl=impl)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("isa", NAMES)
def test_every_float16_is_converted_as_numpy_does(
    monkeypatch: pytest.MonkeyPatch, isa: str
) -> None:
    use(monkeypatch, isa)
    value = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16)
    x = np.stack([value, -value], -1).reshape(1, -1, 1, 2)
    for factor in (np.sqrt(0.15), np.pi):  # results need rounding, and overflow; few are ties
        gamma = (factor * np.sqrt(value.astype(np.float64) ** 2 + 1e-5)).astype(np.float32)[None]
        beta = np.zeros_like(gamma)
        wanted = adain(x, gamma, beta, impl="ref")
        found = adain(x, gamma, beta, impl="native")
        steps = np.abs(found.view(np.int16).astype(int) - wanted.view(np.int16))
        assert steps.max() <= 1  # float32 and float64 may fall on two sides of a tie
        assert (steps > 0).mean() < 0.01


def test_the_result_may_take_the_place_of_x(rng: np.random.Generator) -> None:
    isa_or_skip("generic")
    for layout in LAYOUTS:
        x, gamma, beta = inputs(rng, (2, 37, 65, 33))
        x = laid_out(x, layout)
        wanted = adain(x, gamma, beta, layout=layout, impl="native")
        found = adain(x, gamma, beta, layout=layout, out=x, impl="native")
        assert found is x
        np.testing.assert_array_equal(x, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_number_of_threads_changes_no_bit(rng: np.random.Generator, layout: Any) -> None:
    isa_or_skip("generic")
    x, gamma, beta = inputs(rng, (2, 40, 40, 40))
    x = laid_out(x, layout)
    one = adain(x, gamma, beta, layout=layout, impl="native", threads=1)
    for threads in (2, 3, 8):
        many = adain(x, gamma, beta, layout=layout, impl="native", threads=threads)
        np.testing.assert_array_equal(one, many)


def test_many_threads_may_call_at_once(rng: np.random.Generator) -> None:
    isa_or_skip("generic")
    x, gamma, beta = inputs(rng, (2, 16, 64, 64))
    wanted = adain(x, gamma, beta, impl="native", threads=1)
    wrong: list[int] = []

    def call(who: int) -> None:
        for _ in range(20):
            if not np.array_equal(adain(x, gamma, beta, impl="native", threads=4), wanted):
                wrong.append(who)

    workers = [threading.Thread(target=call, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


X = np.zeros((1, 2, 3, 4), np.float32)
ROW = np.zeros((1, 2), np.float32)
PICTURE = np.zeros((1, 3, 4), np.float32)


@pytest.mark.parametrize("impl", ["auto", "ref"])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": X.astype(np.float64)}, "x is float64, expected float32 or float16"),
        ({"x": X.tolist()}, "x is list, expected float32"),
        ({"x": X[0]}, r"x has shape \(2, 3, 4\), expected \(N, C, H, W\)"),
        ({"x": X[:, :, :0]}, r"x has shape \(1, 2, 0, 4\)"),
        ({"x": X[..., ::-1]}, "x does not lie in memory in one piece"),
        ({"x": X.astype(">f4")}, "x does not lie in memory in one piece and order"),
        ({"gamma": ROW[:, :1]}, r"gamma has shape \(1, 1\), expected \(1, 2\)"),
        ({"beta": ROW.astype(np.float16)}, "beta is float16"),
        ({"noise": PICTURE}, "noise and strength go together"),
        ({"noise": PICTURE[:, :2], "strength": ROW[0]}, "noise has shape"),
        ({"noise": PICTURE, "strength": ROW}, "strength has shape"),
        ({"slope": 1.5}, "slope is 1.5, expected 0 to 1"),
        ({"slope_before": float("nan")}, "slope_before is nan"),
        ({"up": 3}, "up is 3, expected 1 or 2"),
        ({"layout": "CHWN"}, "layout is 'CHWN'"),
        ({"impl": "gpu"}, "impl is 'gpu', expected auto, ref or native"),
        ({"threads": 0}, "threads is 0"),
        ({"out": X.astype(np.float16)}, "out is float16, expected float32"),
        ({"out": X[:, :1]}, "out has shape"),
        ({"out": X, "up": 2}, "out has shape"),
    ],
)
def test_wrong_inputs_are_named(changes: dict[str, Any], text: str, impl: Any) -> None:
    arguments = {"x": X, "gamma": ROW, "beta": ROW, "impl": impl} | changes
    with pytest.raises(InputError, match=text):
        adain(**arguments)


def test_a_result_that_overlaps_is_refused() -> None:
    memory = np.zeros(2 * X.size + 1, np.float32)
    x = memory[: X.size].reshape(X.shape)
    with pytest.raises(InputError, match="out shares memory with an input"):
        adain(x, ROW, ROW, out=memory[1 : X.size + 1].reshape(X.shape))
    gamma = memory[-2:].reshape(1, 2)
    with pytest.raises(InputError, match="out shares memory with an input"):
        adain(x, gamma, ROW, out=memory[-X.size :].reshape(X.shape))


def test_arrays_that_cannot_be_written_or_lie_askew_are_refused() -> None:
    locked = X.copy()
    locked.flags.writeable = False
    assert adain(locked, ROW, ROW).shape == X.shape
    with pytest.raises(InputError, match="cannot be written"):
        adain(X, ROW, ROW, out=locked)
    askew = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(X.shape)
    with pytest.raises(InputError, match="in one piece and order"):
        adain(askew, ROW, ROW)


def test_a_twin_that_is_not_built_is_said_once_and_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "load", lambda: "not built")
    assert adain(X, ROW, ROW).shape == X.shape
    assert "make ext" in dispatch.state()
    with pytest.raises(MissingDependency, match=r"kernels are not built.*make ext"):
        adain(X, ROW, ROW, impl="native")


def test_the_compiled_module_guards_its_memory_itself() -> None:
    isa = isa_or_skip("generic")
    kernels = dispatch.load()
    rest = (None, None, 1.0, 1.0, 1, False)
    with pytest.raises(ValueError, match="gamma and beta"):
        kernels.adain(X, ROW[:, :1].copy(), ROW, *rest, X.copy(), 1, isa)
    with pytest.raises(ValueError, match="another shape"):
        kernels.adain(X, ROW, ROW, *rest, X[:, :1].copy(), 1, isa)
    with pytest.raises(TypeError):
        kernels.adain(X[..., ::2], ROW, ROW, *rest, X.copy(), 1, isa)
    with pytest.raises(ValueError, match="no such-set"):
        kernels.adain(X, ROW, ROW, *rest, X.copy(), 1, "such-set")
