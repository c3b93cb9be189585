"""The terms of an objective against other libraries and the official figures."""

from __future__ import annotations

import importlib

import pytest
import pytorch_msssim
import torch
from tests.golden import load_golden, seeded
from torch import Tensor, nn

from mien_export.nets.lpips import heads_from_tensors, vgg16_from_tensors
from mien_export.steps.terms import MsSsim, Perceptual


def pictures(size: int, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two smooth pictures in [-1, 1], the second a disturbed copy of the first."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, size // 8, size // 8, generator=random) * 2 - 1
    a = nn.functional.interpolate(coarse, size, mode="bilinear")
    noise = torch.randn(a.shape, generator=random)
    return a, (0.8 * a + 0.15 * noise).clamp(-1, 1)


@pytest.mark.parametrize(("size", "batch"), [(176, 1), (256, 3)])
def test_ms_ssim_is_that_of_the_reference_library(size: int, batch: int) -> None:
    a, b = pictures(size, batch, seed=size)
    expected = pytorch_msssim.ms_ssim(
        a * 0.5 + 0.5, b * 0.5 + 0.5, data_range=1.0, size_average=False
    )
    torch.testing.assert_close(MsSsim(size)(a, b), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "scales"), [(64, 3), (128, 4), (256, 5)])
def test_small_pictures_use_the_scales_that_hold_a_window(size: int, scales: int) -> None:
    a, b = pictures(size, 2, seed=1)
    published = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales]
    weights = published if scales == 5 else [w / sum(published) for w in published]
    # The library asks for five scales' worth of pixels whatever the weights; go below its check.
    expected = torch.ones(2, 3)
    inside = importlib.import_module("pytorch_msssim.ssim")
    window = inside._fspecial_gauss_1d(11, 1.5).repeat(3, 1, 1, 1)
    x, y = a * 0.5 + 0.5, b * 0.5 + 0.5
    for i, weight in enumerate(weights):
        full, contrast = inside._ssim(x, y, 1.0, window, size_average=False)
        last = i == scales - 1
        expected = expected * torch.relu(full if last else contrast) ** weight
        x, y = nn.functional.avg_pool2d(x, 2), nn.functional.avg_pool2d(y, 2)
    torch.testing.assert_close(MsSsim(size)(a, b), expected.mean(1), rtol=1e-4, atol=1e-5)


def test_ms_ssim_of_a_picture_with_itself_is_one_and_its_gradient_is_finite() -> None:
    a, _ = pictures(128, 1, seed=3)
    b = a.clone().requires_grad_(True)
    value = MsSsim(128)(b, a)
    value.sum().backward()
    torch.testing.assert_close(value, torch.ones(1), rtol=0, atol=1e-5)
    assert b.grad is not None
    assert b.grad.isfinite().all()


def test_ms_ssim_of_opposites_is_near_zero_and_its_gradient_is_finite() -> None:
    a, _ = pictures(128, 2, seed=4)
    b = (-a).requires_grad_(True)
    value = MsSsim(128)(b, a)
    value.sum().backward()
    assert value.max() < 0.1
    assert b.grad is not None
    assert b.grad.isfinite().all()


def test_perceptual_distance_is_the_official_lpips() -> None:
    spec, outputs = load_golden("lpips-vgg")
    tensors = {name: seeded.tensor(name, tuple(s), "he") for name, s in spec["tensors"].items()}
    for i in range(5):
        name = f"lin{i}.model.1.weight"
        shape = tuple(spec["tensors"][name])
        tensors[name] = abs(seeded.draw(f"lpips/{name}", shape)) / shape[1]
    features = vgg16_from_tensors(tensors)
    term = Perceptual(features, heads_from_tensors(tensors, features.widths()))
    a, b = (
        torch.from_numpy(seeded.draw(f"lpips-vgg/{n}", (2, 3, 64, 64)).clip(-1, 1)) for n in "ab"
    )
    distance = term(term.features(a), term.features(b))
    torch.testing.assert_close(
        distance, torch.from_numpy(outputs["distance"]).reshape(-1), rtol=1e-4, atol=1e-6
    )
