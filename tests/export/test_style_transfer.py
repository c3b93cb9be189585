"""AdaIN style transfer: its graphs against the published equations in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import BOTH
from torch import Tensor

import mien_engines
from mien import Studio
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError
from mien_export.export import export

WIDTHS = (6, 8, 10)  # of the encoder's stages, one convolution each
DECODER = ((10, 8), (8, 8, 6), (6, 3))


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(4)
    found = {"encoder.conv0.weight": torch.randn(3, 3, 1, 1), "encoder.conv0.bias": torch.randn(3)}
    c_in = 3
    for stage, width in enumerate(WIDTHS, 1):
        found[f"encoder.conv{stage}1.weight"] = 0.3 * torch.randn(width, c_in, 3, 3)
        found[f"encoder.conv{stage}1.bias"] = torch.randn(width)
        c_in = width
    for s, stage in enumerate(DECODER):
        for i, (a, b) in enumerate(pairwise(stage)):
            found[f"decoder.stages.{s}.{i}.weight"] = 0.1 * torch.randn(b, a, 3, 3)
            found[f"decoder.stages.{s}.{i}.bias"] = 0.1 * torch.randn(b)
    return found


@pytest.fixture(scope="module")
def bundle(tensors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("adain")
    torch.save(tensors, folder / "adain.pt")
    export("adain", folder / "adain.pt", folder / "bundle")
    return Bundle.open(folder / "bundle")


def convolved(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight, bias = (tensors[f"{name}.{part}"].double() for part in ("weight", "bias"))
    edge = weight.shape[2] // 2
    return F.conv2d(F.pad(x, (edge,) * 4, mode="reflect"), weight, bias)


def encoded(tensors: dict[str, Tensor], picture: np.ndarray) -> Tensor:
    x = torch.from_numpy(picture).double().permute(0, 3, 1, 2) / 255
    x = convolved(tensors, "encoder.conv0", x)
    for stage in range(1, len(WIDTHS) + 1):
        x = x if stage == 1 else F.max_pool2d(x, 2)
        x = F.relu(convolved(tensors, f"encoder.conv{stage}1", x))
    return x


def decoded(tensors: dict[str, Tensor], x: Tensor) -> np.ndarray:
    for s, stage in enumerate(DECODER):
        x = x if s == 0 else x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        for i in range(len(stage) - 1):
            x = convolved(tensors, f"decoder.stages.{s}.{i}", x)
            x = x if (s, i) == (2, 0) else F.relu(x)
    levels: np.ndarray = (x.clamp(-1, 1).permute(0, 2, 3, 1) * 127.5 + 127.5).numpy()
    return levels


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "ov"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_picture_takes_the_mean_and_deviation_of_a_style(
    bundle: Bundle,
    tensors: dict[str, Tensor],
    rng: np.random.Generator,
    backend: str,
    batch: int,
    alpha: float,
) -> None:
    content = rng.integers(0, 256, (batch, 24, 40, 3), np.uint8)
    style = rng.integers(0, 256, (batch, 32, 20, 3), np.uint8)
    code, other = encoded(tensors, content), encoded(tensors, style)
    mean, spread = other.mean((2, 3), keepdim=True), other.var((2, 3), correction=0, keepdim=True)
    own = code.var((2, 3), correction=0, keepdim=True)
    normal = (code - code.mean((2, 3), keepdim=True)) / (own + 1e-5).sqrt()
    mixed = alpha * (normal * (spread + 1e-5).sqrt() + mean) + (1 - alpha) * code
    strength = np.array([alpha], np.float32)
    with mien_engines.open(bundle, backend) as engine:
        whole = engine.run("stylize", content=content, style=style, alpha=strength)["drawn"]
        kept = engine.run("style", picture=style)
        frame = engine.run("transfer", picture=content, alpha=strength, **kept)["drawn"]
    np.testing.assert_allclose(whole, decoded(tensors, mixed), rtol=0, atol=0.55)
    np.testing.assert_array_less(np.abs(frame.astype(int) - whole), 2)


@pytest.fixture(scope="module")
def studio(bundle: Bundle) -> Iterator[Studio]:
    with Studio(bundle.folder, backend="ort") as opened:
        yield opened


def test_any_size_is_drawn_as_if_it_went_on_by_reflection(
    studio: Studio, tensors: dict[str, Tensor], rng: np.random.Generator
) -> None:
    content, style = (rng.integers(0, 256, (*size, 3), np.uint8) for size in ((37, 51), (20, 33)))
    drawn = studio.stylize(content, style, strength=0.0)
    continued = np.pad(content, ((0, 3), (0, 1), (0, 0)), mode="reflect")
    expected = decoded(tensors, encoded(tensors, continued[None]))[0, :37, :51]
    np.testing.assert_allclose(drawn.array, expected, rtol=0, atol=0.55)
    assert drawn.edits == ("stylize",)
    assert len(drawn.sources) == 2


def test_weights_choose_between_styles(studio: Studio, rng: np.random.Generator) -> None:
    content, one, two = (rng.integers(0, 256, (24, 24, 3), np.uint8) for _ in range(3))
    alone = [studio.stylize(content, style).array.astype(int) for style in (one, two)]
    for weights, expected in (((1, 0), alone[0]), ((0, 5), alone[1])):
        drawn = studio.stylize(content, [one, two], weights=weights).array
        np.testing.assert_array_less(np.abs(drawn - expected), 2)
    between = studio.stylize(content, [one, two]).array.astype(int)
    assert min(np.abs(between - x).mean() for x in alone) > 0.5


def test_masks_lay_styles_side_by_side(studio: Studio, rng: np.random.Generator) -> None:
    content, one, two = (rng.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(3))
    left, right = np.zeros((2, 16, 24), np.float32)
    left[:, :8], right[:, 16:] = 1, 1
    drawn = studio.stylize(content, [one, two], masks=[left, right]).array
    np.testing.assert_array_equal(drawn[:, 8:16], content[:, 8:16])
    np.testing.assert_array_equal(drawn[:, :8], studio.stylize(content, one).array[:, :8])
    np.testing.assert_array_equal(drawn[:, 16:], studio.stylize(content, two).array[:, 16:])


def test_hues_stay_where_that_is_wanted(studio: Studio, rng: np.random.Generator) -> None:
    content = np.full((32, 32, 3), (150, 120, 110), np.uint8)
    content[8:24, 8:24] = (110, 120, 150)
    style = rng.integers(0, 256, (32, 32, 3), np.uint8)
    drawn = studio.stylize(content, style, keep_colour=True, strength=0.3).array
    plain = studio.stylize(content, style, strength=0.3).array
    lab, own, free = (
        cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2LAB).astype(int)
        for x in (drawn, content, plain)
    )
    shown = (plain.min(2) > 40) & (plain.max(2) < 200)  # hues that fit into RGB at that lightness
    assert np.abs(lab - own)[shown][:, 1:].mean() < 2
    assert np.abs(lab - free)[shown][:, 0].mean() < 2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"strength": 1.5}, "strength is 1.5, expected 0 to 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"weights": [1, 2]}, "1 styles with 2 weights"),
        ({"weights": [-1]}, "expected numbers from 0"),
        ({"weights": [0]}, "whose sum is above 0"),
        ({"masks": [np.ones((3, 3), np.float32)]}, "the masks have shapes"),
        ({"masks": [], "weights": [1]}, "both given"),
        ({"content": np.zeros((4, 90, 3), np.uint8)}, "the content has 90 x 4 px"),
        ({"style": np.zeros((4, 90, 3), np.uint8)}, "the style has 90 x 4 px"),
        ({"style": []}, "0 styles"),
    ],
)
def test_what_cannot_be_drawn_is_said(studio: Studio, changes: dict[str, Any], match: str) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(InputError, match=match):
        studio.stylize(**({"content": picture, "style": picture} | changes))


@BOTH
@pytest.mark.parametrize("graph", ["style", "transfer", "stylize"])
def test_tensorrt_builds(bundle: Bundle, graph: str, assert_it_builds: Callable[..., None]) -> None:
    assert_it_builds(bundle.graph_path(graph), side=16)


def test_halves_that_do_not_fit_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    short = {name: x for name, x in tensors.items() if "stages.2" not in name}
    alone = {name: x for name, x in tensors.items() if name.startswith("encoder")}
    for kept, match in ((short, "the decoder has 2 stages"), (alone, "expected tensors of")):
        torch.save(kept, tmp_path / "half.pt")
        with pytest.raises(ArchMismatch, match=match):
            export("adain", tmp_path / "half.pt", tmp_path / "bundle")


def test_colours_become_those_of_the_style(studio: Studio, rng: np.random.Generator) -> None:
    content = rng.integers(0, 256, (32, 32, 3), np.uint8)
    style = rng.normal((180, 120, 60), 12, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    flat = style.reshape(-1, 3).astype(float)
    drawn = studio.stylize(content, style).array.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(drawn.mean(0), flat.mean(0), atol=0.5)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(flat.T), atol=3)
    plain = studio.stylize(content, style, match_colour=0).array.reshape(-1, 3).astype(float)
    half = studio.stylize(content, style, match_colour=0.5).array.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(half, (plain + drawn) / 2, atol=1.01)


def test_a_style_that_is_neither_a_name_nor_a_picture_is_refused(studio: Studio) -> None:
    with pytest.raises(InputError, match="no style 'wavs'") as caught:
        studio.stylize(np.zeros((32, 32, 3), np.uint8), "wavs")
    assert "waves" in (caught.value.hint or "")
