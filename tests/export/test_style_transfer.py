"""AdaIN style transfer: its graphs against the published equations in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import BOTH
from torch import Tensor

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch
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
