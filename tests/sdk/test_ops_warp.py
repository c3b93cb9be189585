"""Warping: against np.pad, np.rot90, ramps, OpenCV; the compiled twin against the definition."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.sdk.ops import NAMES, isa_or_skip, use

from mien.errors import InputError, MissingDependency
from mien.ops import dispatch
from mien.ops.warp import _matrix, _warp_ref, matrix_from_quad, warp

Array = NDArray[Any]
BORDERS = ["constant", "edge", "reflect"]
FILL = (10, 20, 200)
TURNED = np.array([[0.9, -0.5, 12.3], [0.4, 1.1, -7.7], [0, 0, 1]])
TILTED = np.array([[0.9, -0.2, 3.1], [0.1, 1.2, -4.2], [0.004, -0.002, 1]])
HORIZON = np.array([[1.0, 0, 0], [0, 1, 0], [-0.05, 0, 1]])  # at x = 20


def picture(rng: np.random.Generator, h: int, w: int) -> Array:
    return rng.integers(0, 256, (h, w, 3), np.uint8)


def moved(x: float, y: float) -> Array:
    return np.array([[1, 0, x], [0, 1, y]], np.float64)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (9, 11)])
def test_borders_are_those_of_numpy(
    rng: np.random.Generator, border: Any, size: tuple[int, int]
) -> None:
    source = picture(rng, *size)
    pad = 30  # further than the picture is wide: reflections repeat
    padding = [(pad, pad), (pad, pad)]
    if border == "constant":
        planes = [np.pad(source[..., i], padding, constant_values=FILL[i]) for i in range(3)]
    else:
        planes = [np.pad(source[..., i], padding, border) for i in range(3)]
    wanted = np.stack(planes, -1)
    found = warp(source, moved(-pad, -pad), wanted.shape[:2], border=border, fill=FILL, impl="ref")
    np.testing.assert_array_equal(found, wanted)


def test_a_quarter_turn_moves_pixels_whole(rng: np.random.Generator) -> None:
    source = picture(rng, 5, 8)
    turn = [[0, -1, 8], [1, 0, 0]]  # (x, y) of the result is (8 - y, x) of the picture
    np.testing.assert_array_equal(warp(source, turn, (8, 5), impl="ref"), np.rot90(source))


@settings(deadline=None)
@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(8, 12), st.floats(8, 12))
def test_a_ramp_stays_a_ramp(a: float, b: float, x: float, y: float) -> None:
    """Bilinear sampling of a plane 3 x + 2 y is exact, wherever the points fall."""
    v, u = np.mgrid[:40, :40] + 0.5
    ramp = np.repeat((3 * u + 2 * v)[..., None], 3, 2)  # 2.5 .. 197.5, in whole and half levels
    source = np.floor(ramp).astype(np.uint8)
    np.testing.assert_array_equal(source, ramp - 0.5)
    m = np.array([[1 + a, b, x], [-b, 1 + a, y]])
    drawn = _warp_ref(source, _matrix(m), (12, 12), "constant", (0, 0, 0))
    v, u = np.mgrid[:12, :12] + 0.5
    across, down = m[0, 0] * u + m[0, 1] * v + x, m[1, 0] * u + m[1, 1] * v + y
    np.testing.assert_allclose(drawn[..., 0], 3 * across + 2 * down - 0.5, atol=1e-9)


def test_it_draws_what_opencv_draws(rng: np.random.Generator) -> None:
    small = picture(rng, 8, 8)
    source = cv2.resize(small, (96, 80), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV counts from pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for m in (TURNED, TILTED):
        theirs = np.linalg.inv(half) @ m @ half
        wanted = cv2.warpPerspective(
            source, theirs, (70, 60), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        found = warp(source, m, (60, 70), border="reflect", impl="ref")
        assert np.abs(found.astype(int) - wanted).max() <= 3  # OpenCV knows 32 places in a pixel


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("m", [TURNED, TILTED, HORIZON, TURNED * 40, np.eye(3) * 0.01])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (53, 31)])
def test_the_compiled_twin_agrees(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    m: Array,
    border: Any,
    isa: str,
) -> None:
    use(monkeypatch, isa)
    source = picture(rng, *size)
    exact = _warp_ref(source, _matrix(m), (37, 41), border, FILL)
    found = warp(source, m, (37, 41), border=border, fill=FILL, impl="native", threads=2)
    # Float32 may round ties to the other side, and no more.
    assert np.abs(found - exact).max() <= 0.5 + 255e-5


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e300, 1e300) | st.floats(-3, 3), min_size=9, max_size=9),
    st.sampled_from(BORDERS),
)
def test_any_matrix_ends_well(values: list[float], border: Any) -> None:
    isa_or_skip("generic")
    m = np.array(values).reshape(3, 3)
    source = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    exact = _warp_ref(source, m, (6, 5), border, FILL)
    found = warp(source, m, (6, 5), border=border, fill=FILL, impl="native")
    # Where points are a million pixels out, a rounding of float64 is seen.
    far = np.abs(m).max() > 1e6 * np.abs(m[m != 0]).min(initial=1)
    assert far or np.abs(found - exact).max() <= 0.51


def test_behind_the_horizon_is_nothing(rng: np.random.Generator) -> None:
    found = warp(picture(rng, 8, 8), HORIZON, (8, 40), border="edge", fill=FILL)
    assert (found[:, 20:] == FILL).all()
    assert not (found[:, :20] == FILL).all(-1).any()


def test_a_square_face_is_cut_out_as_align_says() -> None:
    quad = np.array([[30.0, 20], [26, 52], [58, 56], [62, 24]])
    m = matrix_from_quad(quad, (64, 32))
    corners = np.array([[0, 0, 1], [0, 64, 1], [32, 64, 1], [32, 0, 1]], np.float64)
    np.testing.assert_allclose(corners @ m.T, np.column_stack([quad, np.ones(4)]), atol=1e-9)


def test_a_tilted_quad_keeps_lines_straight() -> None:
    quad = np.array([[10.0, 5], [0, 80], [90, 70], [60, 10]])
    m = matrix_from_quad(quad, (50, 40))
    points = np.array([[0, 0, 1], [0, 50, 1], [40, 50, 1], [40, 0, 1], [20, 25, 1]]) @ m.T
    assert (points[:, 2] > 0).all()
    x = points[:, :2] / points[:, 2:]
    np.testing.assert_allclose(x[:4], quad, atol=1e-9)
    (a, b), (c, d) = (quad[0], quad[2]), (quad[1], quad[3])  # the diagonals cross in the middle
    t = np.linalg.solve(np.column_stack([b - a, c - d]), c - a)
    np.testing.assert_allclose(x[4], a + t[0] * (b - a), atol=1e-9)


P = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: warp(P[..., 0].copy(), np.eye(3), (1, 1)), "picture has shape"),
        (lambda: warp(P, np.eye(2), (1, 1)), r"the matrix has shape \(2, 2\)"),
        (lambda: warp(P, np.eye(3) * np.nan, (1, 1)), "the matrix holds NaN"),
        (lambda: warp(P, np.eye(3), (0, 1)), "size is 0 x 1"),
        (lambda: warp(P, np.eye(3), (1, 1), border="wrap"), "border is 'wrap'"),
        (lambda: warp(P, np.eye(3), (1, 1), fill=(0, 0, 256)), "fill is"),
        (lambda: warp(P, np.eye(3), (4, 5), out=P), "out shares memory"),
        (lambda: matrix_from_quad(np.zeros((3, 2)), (1, 1)), "no array of four corners"),
        (lambda: matrix_from_quad(np.zeros((4, 2)), (1, 1)), "lie on a line"),
        (lambda: matrix_from_quad([[0, 0], [0, 9], [9, 9], [1, 8]], (1, 1)), "not convex"),
    ],
)
def test_wrong_inputs_are_named(call: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_a_twin_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "load", lambda: "not built")
    with pytest.raises(MissingDependency, match="make ext"):
        warp(P, np.eye(3), (1, 1), impl="native")
