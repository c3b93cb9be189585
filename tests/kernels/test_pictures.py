"""Pictures on the GPU, in the emulation, against the definitions of `mien.ops`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.ops.paste import paste as paste_definition
from mien.ops.pixels import floats_from_pixels as floats_definition
from mien.ops.warp import _matrix, _warp_ref
from mien_engines.errors import InputError
from mien_engines.kernels.pictures import crop, floats_from_pixels, paste, pixels_from_floats
from tests.kernels.emulation import Emulation, Guarded, rounded
from tests.sdk.test_ops_warp import TURNED, moved

Array = NDArray[Any]
DTYPES = ["float32", "float16", "bfloat16"]
STEP = {"float32": 2e-6, "float16": 2**-11, "bfloat16": 2**-8}  # of numbers below 1
SIZES = [(1, 1), (1, 300), (37, 41)]
BORDERS: list[Any] = ["constant", "edge", "reflect"]


def pictures(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, 256, (*shape, 3), np.uint8)


def empty(shape: tuple[int, ...], dtype: str) -> Guarded:
    return Guarded(np.zeros(shape, np.float32 if dtype == "bfloat16" else dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_levels_become_numbers(
    rng: np.random.Generator, kernels: ctypes.CDLL, size: tuple[int, int], dtype: str
) -> None:
    picture = pictures(rng, 3, *size)
    colours: Any = {"mean": (123.7, 116.3, 103.5), "deviation": (158.4, 157.1, 157.4)}
    for options in ({}, colours):
        out = empty((3, 3, *size), dtype)
        floats_from_pixels(Emulation(kernels, seed=1), Guarded(picture), out=out, **options)
        wanted = floats_definition(picture, impl="ref", **options)
        np.testing.assert_allclose(out.value, wanted, rtol=0, atol=STEP[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_numbers_become_the_nearest_levels(
    rng: np.random.Generator, kernels: ctypes.CDLL, size: tuple[int, int], dtype: str
) -> None:
    image = rounded(rng.uniform(-1.3, 1.3, (2, 3, *size)).astype(np.float32), dtype)
    source = Guarded(image.astype("float32" if dtype == "bfloat16" else dtype), dtype)
    out, odd = Guarded(np.zeros((2, *size, 3), np.uint8)), Guarded(np.zeros(4, np.uint8))
    pixels_from_floats(Emulation(kernels, seed=2), source, out=out, odd=odd)
    exact = (image.astype(np.float64) * 127.5 + 127.5).clip(0, 255).transpose(0, 2, 3, 1)
    assert np.abs(out.value - exact).max() <= 0.5 + 1e-4
    assert not odd.value.any()


def test_every_level_survives_the_way_there_and_back(kernels: ctypes.CDLL) -> None:
    picture = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(1, 16, 16, 3)
    for dtype in ("float32", "float16"):
        image, out = empty((1, 3, 16, 16), dtype), Guarded(np.zeros_like(picture))
        floats_from_pixels(Emulation(kernels), Guarded(picture), out=image)
        odd = Guarded(np.zeros(4, np.uint8))
        pixels_from_floats(Emulation(kernels), image, out=out, odd=odd)
        np.testing.assert_array_equal(out.value, picture)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_told(kernels: ctypes.CDLL, value: float) -> None:
    image = np.zeros((2, 3, 9, 70), np.float32)
    image[1, 2, 8, 69] = value
    out, odd = Guarded(np.zeros((2, 9, 70, 3), np.uint8)), Guarded(np.zeros(4, np.uint8))
    pixels_from_floats(Emulation(kernels), Guarded(image), out=out, odd=odd)
    assert odd.value.any()


MATRICES = [
    TURNED,
    TURNED * 40,
    np.diag([0.01, 0.01, 1]),
    moved(0, 0),
    moved(-30, -30.25),
    moved(7000, 0),
]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (53, 31)])
def test_a_crop_is_a_warp_before_it_is_rounded(
    rng: np.random.Generator, kernels: ctypes.CDLL, size: tuple[int, int], border: Any
) -> None:
    picture = pictures(rng, *size)
    for seed, m in enumerate(MATRICES):
        out = empty((3, 23, 29), "float32")
        crop(
            Emulation(kernels, seed=seed), Guarded(picture), m[:2], out=out, border=border,
            fill=200, mean=100, deviation=50,
        )  # fmt: skip
        exact = _warp_ref(picture, _matrix(m[:2]), (23, 29), border, (200, 200, 200))
        # A coordinate is exact to 2^-32 px times the size: what remains is float32's.
        wanted = ((exact - 100) / 50).transpose(2, 0, 1)
        np.testing.assert_allclose(out.value, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_crops_are_stored_in_any_float(
    rng: np.random.Generator, kernels: ctypes.CDLL, dtype: str
) -> None:
    picture = pictures(rng, 20, 30)
    out = empty((3, 16, 18), dtype)
    crop(Emulation(kernels), Guarded(picture), TURNED[:2], out=out)
    exact = _warp_ref(picture, TURNED, (16, 18), "constant", (0, 0, 0)).transpose(2, 0, 1)
    np.testing.assert_allclose(out.value, exact / 127.5 - 1, rtol=0, atol=STEP[dtype])


def test_far_into_a_large_picture_places_are_exact(
    rng: np.random.Generator, kernels: ctypes.CDLL
) -> None:
    """At 60000 px a float32 knows 1/256 of a pixel, which a level in two would show."""
    picture = pictures(rng, 2, 60000)
    m = np.array([[1.0003, 0, 59900.37], [0, 1, 0.31]])
    out = empty((3, 1, 90), "float32")
    crop(Emulation(kernels), Guarded(picture), m, out=out, mean=0, deviation=1)
    exact = _warp_ref(picture, _matrix(m), (1, 90), "constant", (0, 0, 0)).transpose(2, 0, 1)
    np.testing.assert_allclose(out.value, exact, rtol=0, atol=1e-3)


TO_CROPS = [
    moved(-4, -3), moved(5.5, 6.25), np.array([[0.9, 0.3, -8.0], [-0.3, 0.9, 2.0]]),
    np.array([[3.1, -1.0, -20.0], [1.0, 3.1, -35.0]]), np.array([[0.2, 0, 1], [0, 0.2, 1]]),
    np.array([[-0.7, 0, 30.0], [0, 0.7, -2]]),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("feather", [0, 0.1, 0.5])
def test_pasting_is_the_definition(
    rng: np.random.Generator, kernels: ctypes.CDLL, feather: float, dtype: str
) -> None:
    for seed, (m, size) in enumerate(zip(TO_CROPS, (1, 16, 23, 32, 9, 24), strict=True)):
        photo = pictures(rng, 26, 37)
        image = rounded(rng.uniform(-1.2, 1.2, (3, size, size)).astype(np.float32), dtype)
        wanted = paste_definition(photo, image, m, feather=feather)
        held = Guarded(photo)
        source = Guarded(image.astype("float32" if dtype == "bfloat16" else dtype), dtype)
        paste(Emulation(kernels, seed=seed), held, source, m, feather=feather)
        off = np.abs(held.value.astype(int) - wanted)
        assert off.max() <= 1
        assert (off > 0).mean() < 4e-3  # float32 and float64 may fall on two sides of a tie
        v, u = np.mgrid[:26, :37] + 0.5
        places = np.stack([row[0] * u + row[1] * v + row[2] for row in m])
        outside = ((places <= -1e-6) | (places >= size + 1e-6)).any(0)
        np.testing.assert_array_equal(held.value[outside], photo[outside])


def test_what_lies_beside_the_photograph_changes_nothing(
    rng: np.random.Generator, kernels: ctypes.CDLL
) -> None:
    photo, image = pictures(rng, 9, 11), rng.standard_normal((3, 5, 5)).astype(np.float32)
    held = Guarded(photo)
    emulation = Emulation(kernels)
    paste(emulation, held, Guarded(image), moved(400, 0))
    np.testing.assert_array_equal(held.value, photo)
    assert not emulation.launches


def test_a_paste_with_hard_edges_puts_the_picture_there(
    rng: np.random.Generator, kernels: ctypes.CDLL
) -> None:
    photo, patch = pictures(rng, 20, 30), pictures(rng, 8, 8)
    image = floats_definition(patch[None], impl="ref")[0]
    wanted = photo.copy()
    wanted[5:13, 7:15] = patch
    held = Guarded(photo)
    paste(Emulation(kernels), held, Guarded(image), moved(-7, -5), feather=0)
    np.testing.assert_array_equal(held.value, wanted)
    np.testing.assert_array_equal(paste_definition(photo, image, moved(-7, -5), feather=0), wanted)


P, F = Guarded(np.zeros((4, 5, 3), np.uint8)), Guarded(np.zeros((3, 6, 6), np.float32))
PS, FS = Guarded(np.zeros((1, 4, 5, 3), np.uint8)), Guarded(np.zeros((1, 3, 4, 5), np.float32))
ODD = Guarded(np.zeros(4, np.uint8))
EYE = np.eye(3)[:2]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda e: floats_from_pixels(e, P, out=FS), "picture has shape"),
        (lambda e: floats_from_pixels(e, PS, out=F), "out has shape"),
        (lambda e: floats_from_pixels(e, PS, out=FS, deviation=0), "deviation is 0"),
        (lambda e: floats_from_pixels(e, PS, out=FS, mean=(1, 2)), "mean is"),
        (lambda e: pixels_from_floats(e, PS, out=PS, odd=ODD), "image is uint8"),
        (lambda e: pixels_from_floats(e, FS, out=P, odd=ODD), "out has shape"),
        (lambda e: pixels_from_floats(e, FS, out=PS, odd=P), "odd has shape"),
        (lambda e: crop(e, F, EYE, out=F), "picture is float32"),
        (
            lambda e: crop(e, P, np.eye(3), out=F),
            r"the matrix has shape \(3, 3\), expected \(2, 3\)",
        ),
        (lambda e: crop(e, P, EYE * np.nan, out=F), "the matrix holds NaN"),
        (lambda e: crop(e, P, EYE * 1e9, out=F), "the matrix reaches further than"),
        (lambda e: crop(e, P, EYE, out=F, border="wrap"), "border is 'wrap'"),
        (lambda e: crop(e, P, EYE, out=F, fill=256), "fill is 256"),
        (lambda e: paste(e, P, FS, EYE), "image has shape"),
        (lambda e: paste(e, P, Guarded(np.zeros((3, 4, 5), np.float32)), EYE), "image has shape"),
        (lambda e: paste(e, P, F, EYE, feather=0.6), "feather is 0.6"),
        (lambda e: paste(e, P, F, EYE * 0), "the matrix is singular"),
    ],
)
def test_wrong_inputs_are_named(kernels: ctypes.CDLL, call: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call(Emulation(kernels))


def test_the_definition_of_pasting_names_wrong_inputs() -> None:
    photo, image = np.zeros((4, 5, 3), np.uint8), np.zeros((3, 6, 6), np.float32)
    for arguments, text in (
        ((photo[..., 0].copy(), image, EYE), "photo has shape"),
        ((photo, image[:, :5].copy(), EYE), "image has shape"),
        ((photo, image, np.eye(3)), "to_crop is no finite matrix"),
        ((photo, image, EYE, 0.7), "feather is 0.7"),
    ):
        options = {"feather": arguments[3]} if len(arguments) == 4 else {}
        with pytest.raises(InputError, match=text):
            paste_definition(*arguments[:3], **options)
