"""Pictures to floats and back, resampled: against OpenCV, closed forms, and the definition."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.sdk.ops import NAMES, assert_close, isa_or_skip, use

from mien.errors import InputError, MissingDependency, NotFinite
from mien.ops import dispatch
from mien.ops.pixels import floats_from_pixels, pixels_from_floats, taps

Array = NDArray[Any]
SIZES = [  # of the source, of the result
    ((1, 1), (1, 1)),
    ((1, 1), (5, 3)),
    ((7, 5), (7, 5)),
    ((7, 5), (1, 1)),
    ((13, 64), (31, 17)),
    ((64, 48), (16, 12)),
    ((100, 61), (33, 47)),
]


def pictures(rng: np.random.Generator, size: tuple[int, int], n: int = 2) -> Array:
    return rng.integers(0, 256, (n, *size, 3), np.uint8)


@pytest.mark.parametrize(("source", "size"), SIZES)
def test_bilinear_is_that_of_opencv(
    rng: np.random.Generator, source: tuple[int, int], size: tuple[int, int]
) -> None:
    picture = pictures(rng, source)
    found = floats_from_pixels(picture, size, mean=0, deviation=1, impl="ref")
    for one, drawn in zip(picture, found, strict=True):
        flags = {"dsize": size[::-1], "interpolation": cv2.INTER_LINEAR}
        wanted = cv2.resize(one.astype(np.float32), **flags)
        np.testing.assert_allclose(drawn.transpose(1, 2, 0), wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("source", "size"), [s for s in SIZES if s[0] >= s[1] and s[0] != (1, 1)])
def test_area_is_that_of_opencv(
    rng: np.random.Generator, source: tuple[int, int], size: tuple[int, int]
) -> None:
    if size[1] > source[1]:
        pytest.skip("OpenCV averages only where both sides shrink")
    picture = pictures(rng, source)
    found = floats_from_pixels(picture, size, filter="area", mean=0, deviation=1, impl="ref")
    for one, drawn in zip(picture, found, strict=True):
        wanted = cv2.resize(one.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(drawn.transpose(1, 2, 0), wanted, rtol=0, atol=2e-3)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_area_keeps_the_mean_and_weighs_every_pixel_alike(source: int, size: int) -> None:
    t = taps(source, size, "area")
    weight = np.zeros(source)
    for k, row in enumerate(t.weight):
        np.add.at(weight, t.first + k, row)
    np.testing.assert_allclose(t.weight.sum(0), 1, atol=1e-9)
    np.testing.assert_allclose(weight, size / source, atol=1e-9)


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(1, 200))
def test_bilinear_continues_a_ramp_between_its_ends(source: int, size: int) -> None:
    ramp = np.arange(source, dtype=np.float64)
    found = taps(source, size, "bilinear").along(ramp, 0)
    wanted = ((np.arange(size) + 0.5) * source / size - 0.5).clip(0, source - 1)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("isa", NAMES)
@pytest.mark.parametrize("filter", ["bilinear", "area"])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_the_compiled_twins_agree(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    source: tuple[int, int],
    size: tuple[int, int],
    filter: Any,
    isa: str,
) -> None:
    use(monkeypatch, isa)
    picture = pictures(rng, source, 3)
    colours = {"mean": (123.7, 116.3, 103.5), "deviation": (58.4, 57.1, 57.4)}
    for options in ({}, colours):
        wanted = floats_from_pixels(picture, size, filter=filter, impl="ref", **options)
        found = floats_from_pixels(picture, size, filter=filter, impl="native", **options)
        assert_close(found, wanted)
    image = rng.uniform(-1.3, 1.3, (3, 3, *source)).astype(np.float32)
    found = pixels_from_floats(image, size, filter=filter, impl="native")
    exact = taps(source[1], size[1], filter).along(
        taps(source[0], size[0], filter).along(image, 2), 3
    )
    levels = (exact * 127.5 + 127.5).clip(0, 255).transpose(0, 2, 3, 1)
    assert np.abs(found - levels).max() <= 0.5 + 1e-3  # float32 and float64 round ties apart
    wanted = pixels_from_floats(image, size, filter=filter, impl="ref")
    assert np.abs(wanted - levels).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("impl", ["ref", "native"])
def test_every_level_survives_the_way_there_and_back(impl: Any) -> None:
    if impl == "native":
        isa_or_skip("generic")
    picture = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(1, 16, 16, 3)
    image = floats_from_pixels(picture, impl=impl)
    assert image.min() == -1
    assert image.max() == 1
    np.testing.assert_array_equal(pixels_from_floats(image, impl=impl), picture)


@pytest.mark.parametrize("impl", ["ref", "native"])
def test_levels_are_cut_and_rounded_to_even(impl: Any) -> None:
    if impl == "native":
        isa_or_skip("generic")
    values = [-1e30, -0.5, 0.5, 1.5, 2.5, 254.5, 255.4, 1e30]
    image = np.array(values, np.float32)[:, None].repeat(3, 1).T.reshape(1, 3, 1, -1).copy()
    found = pixels_from_floats(image, mean=0, deviation=1, impl=impl)
    assert found[0, 0, :, 1].tolist() == [0, 0, 0, 2, 2, 254, 255, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("impl", ["ref", "native"])
def test_a_number_that_is_none_is_no_black_pixel(impl: Any, value: float) -> None:
    if impl == "native":
        isa_or_skip("generic")
    image = np.zeros((2, 3, 70, 90), np.float32)
    image[1, 2, 69, 89] = value
    for size in (None, (35, 40)):
        with pytest.raises(NotFinite, match="NaN or infinity"):
            pixels_from_floats(image, size, filter="area", impl=impl)


P = np.zeros((1, 4, 5, 3), np.uint8)
F = np.zeros((1, 3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: floats_from_pixels(P[0]), "picture has shape"),
        (lambda: floats_from_pixels(P[..., :2].copy()), "picture has shape"),
        (lambda: floats_from_pixels(F), "picture is float32, expected uint8"),
        (lambda: floats_from_pixels(P, (0, 5)), "size is 0 x 5"),
        (lambda: floats_from_pixels(P, filter="cubic"), "filter is 'cubic'"),
        (lambda: floats_from_pixels(P, deviation=(1, 0, 1)), "deviation is"),
        (lambda: floats_from_pixels(P, mean=(1, 2)), "mean is"),
        (lambda: floats_from_pixels(P, out=F[:, :, :2].copy()), "out has shape"),
        (lambda: pixels_from_floats(P), "image is uint8"),
        (lambda: pixels_from_floats(F[:, :2].copy()), "image has shape"),
        (lambda: pixels_from_floats(F, mean=float("nan")), "mean is nan"),
    ],
)
def test_wrong_inputs_are_named(call: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_a_twin_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "load", lambda: "not built")
    for call in (
        lambda: floats_from_pixels(P, impl="native"),
        lambda: pixels_from_floats(F, impl="native"),
    ):
        with pytest.raises(MissingDependency, match="make ext"):
            call()


def test_taps_that_lie_outside_are_refused_by_the_kernel() -> None:
    isa_or_skip("generic")
    kernels = dispatch.load()
    first, weight = np.array([4], np.int32), np.ones((1, 1), np.float32)
    inside = np.array([0], np.int32)
    out = np.zeros((1, 3, 1, 1), np.float32)
    with pytest.raises(ValueError, match="a tap lies outside"):
        kernels.floats_from_pixels(P, first, weight, inside, weight, [1] * 3, [0] * 3, out, 1)
