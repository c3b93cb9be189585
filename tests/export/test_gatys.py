"""Gatys' steps as graphs against torch's autograd, torch.optim.Adam and the published equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import assert_builds
from tests.export.test_vgg import IMAGENET, distilled, distilled_layers, torchvision, unit
from torch import Tensor, nn

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import MienError
from mien_export.export import export
from mien_export.nets.mirror import mirror
from mien_export.nets.unpool import unpool
from mien_export.steps.pixels import gram

STAGES = (1, 1, 1)
LAYERS = ("conv1_1", "conv2_1", "conv3_1")
STYLE_WEIGHTS = np.array([1e4, 0, 2e4], np.float32)
CONTENT_WEIGHTS = np.array([0, 2, 0.5], np.float32)
SMOOTHNESS, RATE, DECAY = 0.7, 0.03, 0.97
STEPS = 8

Maps = Callable[[Tensor], list[Tensor]]
F32 = np.ndarray


def torchvision_maps(layers: nn.Sequential) -> Maps:
    """What each convolution gives, of images in [-1, 1]."""
    layers = layers.double().requires_grad_(False)

    def maps(image: Tensor) -> list[Tensor]:
        x, found = ((image + 1) / 2 - IMAGENET[0]) / IMAGENET[1], []
        for layer in layers:
            x = layer(x)
            found += [x] if isinstance(layer, nn.Conv2d) else []
        return found

    return maps


@pytest.fixture(
    scope="module", params=["torchvision", pytest.param("distilled", marks=pytest.mark.slow)]
)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Maps]:
    """A bundle of either edge, with its network put together from torch's own modules."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("gatys")
    if request.param == "torchvision":
        layers = torchvision(STAGES)
        content: object = {f"features.{k}": v.clone() for k, v in layers.state_dict().items()}
        maps = torchvision_maps(layers)
    else:
        thin = distilled(STAGES)
        content = {"model": {name: x.clone() for name, x in thin.items()}}
        maps = distilled_layers({name: x.double() for name, x in thin.items()})
    torch.save(content, folder / "vgg.pth")
    export("vgg", folder / "vgg.pth", folder / "bundle")
    return Bundle.open(folder / "bundle"), maps


def pictures(batch: int, seed: int) -> tuple[F32, F32]:
    """A content with odd sides in every stage, and a style of another size."""
    rng = np.random.default_rng(seed)
    content = rng.integers(0, 256, (batch, 23, 31, 3), np.uint8)
    return content, rng.integers(40, 200, (batch, 26, 17, 3), np.uint8)


def objective(maps: Maps, image: Tensor, content: F32, style: F32) -> Tensor:  # [N]
    """The published loss: Gram matrices over C H W, means of squares."""

    def grams(image: Tensor) -> list[Tensor]:
        return [torch.einsum("nchw,ndhw->ncd", x, x) / x[0].numel() for x in maps(image)]

    total = torch.zeros(len(image), dtype=torch.float64)
    own, wanted = maps(image), maps(unit(content).double() * 2 - 1)
    for x, y, weight in zip(own, wanted, CONTENT_WEIGHTS, strict=True):
        total = total + float(weight) * (x - y).square().mean((1, 2, 3))
    for g, a, weight in zip(
        grams(image), grams(unit(style).double() * 2 - 1), STYLE_WEIGHTS, strict=True
    ):
        total = total + float(weight) * (g - a).square().mean((1, 2))
    down, across = image.diff(dim=2), image.diff(dim=3)
    return total + SMOOTHNESS * (down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3)))


def constants(targets: dict[str, F32], names: tuple[str, ...] = LAYERS) -> dict[str, F32]:
    return {
        "style_weights": STYLE_WEIGHTS,
        "content_weights": CONTENT_WEIGHTS,
        "smoothness": np.array([SMOOTHNESS], np.float32),
        **{name: x for name, x in targets.items() if name.startswith(("gram_", "content_"))},
    }


@pytest.mark.parametrize("batch", [1, 3])
def test_the_gradient_is_that_of_autograd_at_odd_sizes(
    made: tuple[Bundle, Maps], batch: int
) -> None:
    bundle, maps = made
    content, style = pictures(batch, batch)
    rng = np.random.default_rng(9)
    image = rng.uniform(-1, 1, (batch, 3, 23, 31)).astype(np.float32)
    leaf = torch.from_numpy(image).double().requires_grad_(True)
    expected = objective(maps, leaf, content, style)
    expected.sum().backward()
    assert leaf.grad is not None
    with mien_engines.open(bundle, "ort") as engine:
        targets = engine.run("gatys_targets", content=content, style=style)
        found = engine.run("gatys_gradient", image=image, **constants(targets))
    np.testing.assert_allclose(found["loss"], expected.detach().numpy(), rtol=1e-4)
    np.testing.assert_allclose(found["terms"].sum(1), found["loss"], rtol=1e-5)
    largest = float(leaf.grad.abs().max())
    np.testing.assert_allclose(found["gradient"], leaf.grad.numpy(), rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_steps_are_those_of_autograd_and_adam(made: tuple[Bundle, Maps], backend: str) -> None:
    bundle, maps = made
    content, style = pictures(1, 4)
    leaf = (unit(content).double() * 2 - 1).requires_grad_(True)
    adam = torch.optim.Adam([leaf], lr=RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(adam, DECAY)
    losses = []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = objective(maps, leaf, content, style)
        losses.append(float(loss.detach()))
        loss.sum().backward()
        adam.step()
        schedule.step()
        with torch.no_grad():
            leaf.clamp_(-1, 1)
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        targets = engine.run("gatys_targets", content=content, style=style)
        loop = engine.loop(
            "gatys_step",
            **{name: targets[name] for name in ("image", "m", "v")},
            t=np.zeros(1, np.float32),
            rate=np.array([RATE], np.float32),
            decay=np.array([DECAY], np.float32),
            **constants(targets),
        )
        for expected in losses:
            loop.step()
            np.testing.assert_allclose(loop.read("loss")[0], expected, rtol=2e-3)
        found = loop.state()["image"]
    # Adam divides by the gradient's size: where that is near zero the direction is rounding.
    error = np.abs(found - leaf.detach().numpy())
    assert np.quantile(error, 0.98) < 1e-3
    assert losses[-1] < 0.8 * losses[0]


def test_the_published_step_holds_its_own_layers_alone(made: tuple[Bundle, Maps]) -> None:
    spec = made[0].spec.graphs["gatys_published_step"]
    names = [tensor.name for tensor in spec.inputs]
    assert [n for n in names if n.startswith("gram_")] == [f"gram_{layer}" for layer in LAYERS]
    assert [n for n in names if n.startswith("content_")] == ["content_weights", "content_conv2_1"]


def test_the_published_set_is_a_choice_of_all_layers(made: tuple[Bundle, Maps]) -> None:
    content, style = pictures(2, 7)
    with mien_engines.open(made[0], "ort") as engine:
        targets = engine.run("gatys_targets", content=content, style=style)
        image = -targets["image"]
        chosen = constants(targets) | {"content_weights": np.array([0, 2, 0], np.float32)}
        every = engine.run("gatys_gradient", image=image, **chosen)
        few = {n: x for n, x in chosen.items() if n not in ("content_conv1_1", "content_conv3_1")}
        few["content_weights"] = np.array([2], np.float32)
        published = engine.run("gatys_published_gradient", image=image, **few)
    for name, value in every.items():
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(published[name], value, rtol=0, atol=1e-5 * scale)


def test_a_gram_matrix_has_the_gradient_of_autograd() -> None:
    noise = torch.Generator().manual_seed(2)
    x = torch.randn(3, 4, 5, 7, generator=noise, dtype=torch.float64)
    wanted = torch.randn(3, 4, 4, generator=noise, dtype=torch.float64)
    wanted = wanted + wanted.transpose(1, 2)

    def plain(x: Tensor) -> Tensor:
        return torch.einsum("nchw,ndhw->ncd", x, x) / (4 * 5 * 7)

    found, expected = (
        torch.func.grad(lambda x, f=f: (f(x) - wanted).square().sum())(x) for f in (gram, plain)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sides", [(2, 2), (2, 5), (3, 4), (7, 6)])
def test_mirrors_and_poolings_hand_gradients_back_as_autograd_does(sides: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    mirror(x).sin().sum().backward()
    found, x.grad = x.grad, None
    F.pad(x, (1, 1, 1, 1), mode="reflect").sin().sum().backward()
    torch.testing.assert_close(found, x.grad)
    x.grad = None
    pooled = F.max_pool2d(x, 2)
    pooled.sin().sum().backward()
    torch.testing.assert_close(unpool(pooled.detach().cos(), x.detach(), 2), x.grad)


@pytest.mark.slow
def test_tensorrt_parses_and_builds_without_a_gpu(made: tuple[Bundle, Maps]) -> None:
    for name, graph in made[0].spec.graphs.items():
        if name.startswith("gatys"):
            maps = [tensor for tensor in graph.inputs if tensor.name.startswith("content_conv")]
            divisors = {t.name: int(str(t.shape[2]).partition("/")[2] or 1) for t in maps}
            assert_builds(made[0].graph_path(name), side=32, divisors=divisors)


@pytest.mark.slow
def test_openvino_passes_the_gate_of_the_steps(made: tuple[Bundle, Maps]) -> None:
    """In f32; whether bf16 does is the bundle's: small random networks are refused there."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with mien_engines.open(made[0], "ov") as engine:
        assert engine.backend_of("gatys_step") == "ov"
