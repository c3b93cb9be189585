"""The step with noise maps as a graph, against the published recipe on torch's autograd."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import assert_builds
from tests.export.tiny import SMALL, TinyFeatures, tiny
from torch import Tensor

import mien
import mien_engines
from mien.edits.settings import NoiseSettings
from mien_engines import Bundle, backends
from mien_engines.errors import MienError
from mien_engines.parity import Referee
from mien_engines.spec import Source
from mien_export.families.stylegan2_graphs import stylegan2_graphs, w_variance
from mien_export.families.stylegan2_noise import GRAIN
from mien_export.nets.resize import Resized
from mien_export.nets.stylegan2 import Config, Generator, SynthesisLayer
from mien_export.steps.noise import NoiseStep, self_correlation
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import write_bundle

STEPS = 20
SETTINGS = NoiseSettings(steps=STEPS)


GRAPHS = ("render", "project_noise_target", "project_noise_step")


def written(
    folder: Path,
    generator: Generator,
    perceptual: Perceptual,
    reduced: Perceptual | None = None,
    names: tuple[str, ...] = GRAPHS,
) -> Bundle:
    graphs = stylegan2_graphs(generator, perceptual, reduced=reduced)
    config = generator.config
    write_bundle(
        folder,
        [graph for graph in graphs if graph.name in names],
        name="tiny",
        family="stylegan2",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={"resolution": config.resolution, "num_ws": config.num_ws},
        constants={"w_mean": generator.mapping.w_avg.numpy()},
    )
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(tmp_path_factory.mktemp("bundles") / "tiny", *tiny(SMALL))


def correlation(noise: Tensor) -> Tensor:
    """The regulariser of one map [r, r], as it is published."""
    total = torch.zeros([], dtype=noise.dtype)
    while True:
        total = total + (noise * torch.roll(noise, 1, 1)).mean() ** 2
        total = total + (noise * torch.roll(noise, 1, 0)).mean() ** 2
        if len(noise) <= 8:
            return total
        noise = F.avg_pool2d(noise[None, None], 2)[0, 0]


def rate_at(t: float) -> float:
    """The learning rate at a part t of the run, as it is published."""
    ramp = min(1.0, (1.0 - t) / 0.25)
    return 0.1 * (0.5 - 0.5 * math.cos(ramp * math.pi)) * min(1.0, t / 0.05)


def torch_run(
    picture: np.ndarray, state: dict[str, np.ndarray], draws: list[np.ndarray], dtype: torch.dtype
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """The search for one picture with autograd and torch.optim.Adam.

    The maps are the layers' own buffers, as in the published loop. Returns w, the maps in a row,
    and the two terms of each step.
    """
    generator, perceptual = tiny(SMALL)
    generator, perceptual = generator.to(dtype), perceptual.to(dtype)
    target = torch.from_numpy(picture).to(dtype).permute(0, 3, 1, 2) / 127.5 - 1
    wanted = [x.detach() for x in perceptual.features(target)]
    deviation = math.sqrt(SMALL.w_dim * w_variance(tiny(SMALL)[0]))
    layers = [m for m in generator.synthesis.modules() if isinstance(m, SynthesisLayer)]
    row = torch.from_numpy(state["noise"][0]).to(dtype)
    for layer in layers:
        size = len(layer.noise_const)
        layer.noise_const = row[: size**2].reshape(size, size).clone().requires_grad_(True)
        row = row[size**2 :]
    assert not len(row)
    maps = [layer.noise_const for layer in layers]
    w = torch.from_numpy(state["w"]).to(dtype, copy=True).requires_grad_(True)
    adam = torch.optim.Adam([w, *maps])
    terms = []
    for step, draw in enumerate(draws):
        t = step / STEPS
        adam.param_groups[0]["lr"] = rate_at(t)
        scale = 0.05 * deviation * max(0.0, 1 - t / 0.75) ** 2
        disturbed = w + scale * torch.from_numpy(draw).to(dtype)
        image = generator.synthesis(disturbed.repeat(SMALL.num_ws, 1)[None])
        pairs = zip(perceptual.features(image), wanted, strict=True)
        distance = torch.stack([(a - b).square().sum(1).mean((1, 2))[0] for a, b in pairs]).sum()
        noise = torch.stack([correlation(m) for m in maps]).sum()
        adam.zero_grad()
        (distance + 1e5 * noise).backward()
        adam.step()
        with torch.no_grad():
            for m in maps:
                m -= m.mean()
                m *= m.square().mean().rsqrt()
        terms.append((float(distance.detach()), float(noise.detach())))
    found = torch.cat([m.detach().flatten() for m in maps])
    return w.detach().numpy(), found.numpy(), terms


def reachable(seed: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts in W [N, L, D], and pictures of codes not far from them."""
    rng = np.random.default_rng(seed)
    start = np.repeat(rng.standard_normal((batch, 1, SMALL.w_dim)), SMALL.num_ws, 1)
    goal = start + 0.5 * rng.standard_normal((batch, 1, SMALL.w_dim))
    with torch.no_grad():
        image = tiny(SMALL)[0].synthesis(torch.from_numpy(goal.astype(np.float32)))
    levels = (image * 127.5 + 127.5).clamp(0, 255).round().byte()
    return start.astype(np.float32), levels.permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize(("seed", "batch"), [(5, 1), (2, 3)])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_twenty_steps_are_those_of_the_published_loop(
    bundle: Bundle, seed: int, batch: int, backend: str
) -> None:
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    start, pictures = reachable(seed, batch)
    course = SETTINGS.course(batch, SMALL.w_dim)
    inputs = [course.inputs(step) for step in range(STEPS)]
    with engine:
        pixels = bundle.graph("project_noise_step").inputs[3].shape[1]
        state = SETTINGS.state(start, int(pixels))
        loop = engine.loop(
            "project_noise_step",
            **state,
            **SETTINGS.inputs(),
            **inputs[0],
            **engine.run("project_noise_target", picture=pictures),
        )
        terms = []
        for changing in inputs:
            for name, array in changing.items():
                loop.set(name, array)
            loop.step()
            terms.append(loop.read("terms"))
        found = loop.state()
    for i in range(batch):
        alone = {name: array[i : i + 1] for name, array in state.items()}
        draws = [changing["draw"][i] for changing in inputs]
        w, noise, expected = torch_run(pictures[i : i + 1], alone, draws, torch.float64)
        moved = float(np.abs(w - alone["w"]).max())
        assert moved > 0.1
        np.testing.assert_allclose(found["w"][i : i + 1], w, rtol=0, atol=1e-3 * moved)
        np.testing.assert_allclose(found["noise"][i], noise, rtol=0, atol=2e-3)
        np.testing.assert_allclose([t[i] for t in terms], expected, rtol=1e-3, atol=1e-7)


def test_the_regulariser_of_all_maps_is_the_sum_of_theirs(rng: np.random.Generator) -> None:
    sizes = (4, 8, 8, 16, 16, 32, 32)
    maps = [torch.from_numpy(rng.standard_normal((3, 1, r, r))) for r in sizes]
    expected = [sum(float(correlation(m[i, 0])) for m in maps) for i in range(3)]
    np.testing.assert_allclose(self_correlation(maps).numpy(), expected, rtol=1e-10)


def test_the_picture_is_drawn_with_the_maps_and_the_maps_stay_noise(bundle: Bundle) -> None:
    start, pictures = reachable(3, 1)
    with mien_engines.open(bundle, "ort") as engine:
        pixels = int(bundle.graph("project_noise_step").inputs[3].shape[1])
        state = SETTINGS.state(start, pixels)
        feeds = SETTINGS.inputs() | engine.run("project_noise_target", picture=pictures)
        quiet = SETTINGS.course(1, SMALL.w_dim).inputs(STEPS)
        drawn = engine.run("project_noise_step", **state, **feeds, **quiet)
    generator, perceptual = tiny(SMALL)
    step = NoiseStep(generator.synthesis, perceptual, 1.0)
    image = step.image(torch.from_numpy(state["w"]), step.maps(torch.from_numpy(state["noise"])))
    levels = (image * 127.5 + 127.5).clamp(0, 255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(drawn["picture"][0] - levels).max() <= 1
    stored = generator.synthesis(torch.from_numpy(start))
    assert float((image - stored).abs().max()) > 0.05  # other maps, another picture
    np.testing.assert_array_equal(drawn["w_next"], state["w"])  # the last rate is zero
    for m in step.maps(torch.from_numpy(drawn["noise_next"])):
        assert float(m.mean()) == pytest.approx(0, abs=1e-6)
        assert float(m.square().mean()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_pictures_above_256_px_are_compared_at_256(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = Config((8,) * 8, z_dim=8, w_dim=8, mapping_layers=1)  # 512 px
    generator = Generator(config).eval().requires_grad_(False)
    features = TinyFeatures().eval().requires_grad_(False)
    reduced = Perceptual(Resized(features, 512, 256))
    only = ("render", "project_noise_target")
    bundle = written(tmp_path / "large", generator, Perceptual(features), reduced, only)
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("project_noise_target", picture=picture)
    image = torch.from_numpy(picture).permute(0, 3, 1, 2) / 127.5 - 1
    small = F.interpolate(image, (256, 256), mode="area")
    for found_map, expected in zip(
        found.values(), Perceptual(features).features(small), strict=True
    ):
        np.testing.assert_allclose(found_map, expected.numpy(), atol=1e-4)


def test_short_samples_are_repeated_to_fill_the_state(bundle: Bundle) -> None:
    reference = backends.get("ort")
    referee = Referee(
        bundle, lambda name: reference.open(bundle.graph_path(name), bundle.graph(name), 1)
    )
    assert bundle.constants["sample.project_noise_step.noise"].shape == (GRAIN,)
    feeds = referee.feeds("project_noise_step")
    pixels = sum(4**k * (1 if k == 2 else 2) for k in range(2, 6))  # 4 to 32 px
    assert feeds["noise"].shape == feeds["noise_m"].shape == (1, pixels)
    assert not feeds["noise_m"].any()
    np.testing.assert_array_equal(
        feeds["noise"][0], np.resize(bundle.constants["sample.project_noise_step.noise"], pixels)
    )
    assert feeds["w"].shape == (1, SMALL.w_dim)


@pytest.mark.slow
def test_tensorrt_parses_and_builds_without_a_gpu(bundle: Bundle) -> None:
    assert_builds(bundle.graph_path("project_noise_step"))


def test_the_schedules_are_the_published_ones() -> None:
    settings = mien.NVLABS
    assert (settings.steps, settings.rate, settings.start) == (1000, 0.1, "mean")
    for step in (0, 1, 25, 50, 400, 750, 751, 900, 999, 1000):
        assert settings.rate_at(step) == pytest.approx(rate_at(step / 1000), abs=1e-12)
        expected = 0.05 * max(0.0, 1 - step / 1000 / 0.75) ** 2
        assert settings.strength_at(step) == pytest.approx(expected, abs=1e-12)
