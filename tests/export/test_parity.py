"""Exported graphs against the outputs of the official implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.golden import load_golden, seeded

import mien_engines
from mien_engines import Bundle

F32 = NDArray[np.float32]

OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range


def close(found: F32, expected: F32) -> None:
    assert found.shape == expected.shape
    limit = OF_RANGE * float(np.ptp(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def broadcast(w: F32, layers: int = 10) -> F32:
    return np.ascontiguousarray(np.repeat(w[:, None], layers, 1))


def levels(psi: float) -> F32:
    return np.full(10, psi, np.float32)


ONE, NONE = np.ones(1, np.float32), np.zeros(1, np.float32)


def test_rosinality_golden(rosinality_bundle: Bundle) -> None:
    _, golden = load_golden("rosinality-64")
    z = seeded.draw("rosinality-64/z", (2, 512))
    with mien_engines.open(rosinality_bundle, "ort") as engine:
        mapped = engine.run("mapping", z=z, psi=levels(1))
        close(mapped["w"], golden["w"])
        close(
            engine.run("synthesis", ws=broadcast(mapped["w"]), noise=ONE)["image"],
            golden["image_from_w"],
        )
        truncated = engine.run("mapping", z=z, psi=levels(0.7))["ws"]
        close(engine.run("synthesis", ws=truncated, noise=ONE)["image"], golden["image_truncated"])
        ws = seeded.draw("rosinality-64/ws", (1, 10, 512))
        close(engine.run("synthesis", ws=ws, noise=ONE)["image"], golden["image_from_ws"])


def test_nvlabs_golden(nvlabs_bundle: Bundle) -> None:
    _, golden = load_golden("nvlabs-ada-64")
    z = seeded.draw("nvlabs-ada-64/z", (2, 512))
    with mien_engines.open(nvlabs_bundle, "ort") as engine:
        mapped = engine.run("mapping", z=z, psi=levels(1))
        ws = mapped["ws"]
        expected = golden["w"]
        close(ws if expected.ndim == 3 else mapped["w"], expected)
        close(engine.run("synthesis", ws=ws, noise=ONE)["image"], golden["image_const"])
        close(engine.run("synthesis", ws=ws, noise=NONE)["image"], golden["image_none"])
        truncated = engine.run("mapping", z=z, psi=levels(0.7))["ws"]
        close(engine.run("synthesis", ws=truncated, noise=ONE)["image"], golden["image_truncated"])
        drawn = seeded.draw("nvlabs-ada-64/ws", (1, 10, 512))
        close(engine.run("synthesis", ws=drawn, noise=ONE)["image"], golden["image_from_ws"])


def test_nvlabs_source_was_never_run(nvlabs_bundle: Bundle, nvlabs_pkl: Path) -> None:
    assert nvlabs_bundle.spec.source.format == "nvlabs-pkl"
    assert not (nvlabs_pkl.parent / "was-run").exists()


@pytest.mark.parametrize("batch", [1, 3])
def test_render_rounds_the_image_and_mix_mixes_codes(
    nvlabs_bundle: Bundle, rng: np.random.Generator, batch: int
) -> None:
    a, b = rng.standard_normal((2, batch, 10, 512)).astype(np.float32) * 0.3
    weight = np.linspace(-0.5, 1.5, 10).astype(np.float32)
    with mien_engines.open(nvlabs_bundle, "ort") as engine:
        mixed = engine.run("mix", ws_a=a, ws_b=b, weight=weight)
        np.testing.assert_allclose(mixed["ws"], b + weight[:, None] * (a - b), rtol=1e-5, atol=1e-5)
        image = engine.run("synthesis", ws=mixed["ws"], noise=ONE)["image"]
        exact = np.clip(image.transpose(0, 2, 3, 1) * 127.5 + 127.5, 0, 255)
        assert np.abs(mixed["picture"] - exact).max() < 0.51
        assert mixed["picture"].dtype == np.uint8
        np.testing.assert_array_equal(
            engine.run("render", ws=mixed["ws"])["picture"].astype(int) - mixed["picture"], 0
        )
        np.testing.assert_allclose(mixed["energy"], np.square(image).mean((1, 2, 3)), rtol=1e-4)


def test_each_weight_is_stored_once(nvlabs_bundle: Bundle) -> None:
    stored = (nvlabs_bundle.folder / "weights.safetensors").stat().st_size
    spec, _ = load_golden("nvlabs-ada-64")
    generator = 4 * sum(int(np.prod(shape)) for shape in spec["tensors"].values())
    encoder = 4 * 1_438_976
    assert stored < 1.02 * (generator + encoder)
