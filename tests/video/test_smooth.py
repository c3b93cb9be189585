"""Smoothing takes flicker away, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import InputError
from mien.video.smooth import Smoother

U8 = NDArray[np.uint8]


def photograph(rng: np.random.Generator, side: int = 96) -> NDArray[np.float32]:
    """Smooth shapes with edges, [H, W, 3]."""
    blurred = cv2.GaussianBlur(rng.standard_normal((side, side, 3)).astype(np.float32), (0, 0), 6)
    return 128 + 55 * np.tanh(blurred / blurred.std())


def noisy(clean: NDArray[np.float32], rng: np.random.Generator, deviation: float = 3.0) -> U8:
    return (
        (clean + deviation * rng.standard_normal(clean.shape)).round().clip(0, 255).astype(np.uint8)
    )


def touchy(picture: U8) -> U8:
    """An edit that turns a little noise into a lot, as style networks do."""
    far = cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F) * 3 + picture
    return far.clip(0, 255).astype(np.uint8)


def warped_difference(frames: list[U8], shown: list[U8]) -> float:
    """Mean difference of successive pictures, the earlier one moved along with the frames by a
    flow that the smoother does not use (Farneback 2003)."""
    total = []
    for a, b, before, after in zip(frames, frames[1:], shown, shown[1:], strict=False):
        grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (b, a)]
        way = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        y, x = np.mgrid[: a.shape[0], : a.shape[1]].astype(np.float32)
        moved = cv2.remap(before, x + way[..., 0], y + way[..., 1], cv2.INTER_LINEAR)
        total.append(np.abs(moved.astype(float) - after).mean())
    return float(np.mean(total))


def test_flicker_of_a_still_noisy_shot_is_less_than_half(rng: np.random.Generator) -> None:
    still = photograph(rng)
    frames = [noisy(still, rng) for _ in range(12)]
    smoother = Smoother(1.0)
    drawn = [touchy(frame) for frame in frames]
    shown = [smoother(frame, picture) for frame, picture in zip(frames, drawn, strict=True)]
    before, after = warped_difference(frames, drawn), warped_difference(frames[4:], shown[4:])
    assert after < 0.5 * before


def test_flicker_of_a_pan_is_less_and_the_picture_stays_sharp(rng: np.random.Generator) -> None:
    wide = cv2.resize(photograph(rng, 128), (256, 128))
    frames = [noisy(wide[:, 3 * i : 3 * i + 128], rng) for i in range(12)]
    smoother = Smoother(0.8)
    drawn = [touchy(frame) for frame in frames]
    shown = [smoother(frame, picture) for frame, picture in zip(frames, drawn, strict=True)]
    assert warped_difference(frames[4:], shown[4:]) < 0.7 * warped_difference(frames, drawn)
    clean = touchy(wide[:, 33:161].round().astype(np.uint8)).astype(float)
    assert np.abs(shown[11] - clean).mean() < np.abs(drawn[11] - clean).mean()


def test_a_cut_shows_nothing_of_the_shot_before(rng: np.random.Generator) -> None:
    smoother = Smoother(1.0)
    first, second = noisy(photograph(rng), rng), noisy(255 - photograph(rng), rng)
    smoother(first, first)
    shown = smoother(second, second)
    changed = cv2.blur(cv2.absdiff(first, second).max(2).astype(np.float32), (9, 9)) > 60
    assert changed.mean() > 0.3
    assert np.abs(shown[changed].astype(int) - second[changed]).mean() < 3


def test_without_strength_nothing_changes(rng: np.random.Generator) -> None:
    smoother = Smoother(0.0)
    for _ in range(3):
        picture = rng.integers(0, 256, (5, 7, 3), np.uint8)
        assert smoother(picture, picture) is picture
    assert smoother.state() == {}


@pytest.mark.parametrize("sizes", [((1, 1), (1, 1)), ((20, 33), (40, 66)), ((600, 700), (30, 35))])
def test_frames_and_pictures_of_any_sizes_are_taken(
    rng: np.random.Generator, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    smoother = Smoother(0.7)
    for _ in range(3):
        frame, picture = (rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes)
        assert smoother(frame, picture).shape == picture.shape


def test_what_was_put_aside_goes_on_to_the_same_bits(rng: np.random.Generator) -> None:
    frames = [noisy(photograph(np.random.default_rng(i // 4)), rng) for i in range(8)]
    whole, second = Smoother(0.8), Smoother(0.8)
    shown = [whole(frame, frame) for frame in frames]
    first = Smoother(0.8)
    for frame in frames[:4]:
        first(frame, frame)
    second.restore(first.state())
    for frame, wanted in zip(frames[4:], shown[4:], strict=True):
        np.testing.assert_array_equal(second(frame, frame), wanted)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(InputError, match=r"smoothing is .*, expected 0 to 1"):
        Smoother(strength)
