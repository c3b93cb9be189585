"""The projection step as a graph against torch's autograd and torch's own Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.export.rtx import assert_builds
from tests.export.tiny import CONFIG, tiny

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import MienError
from mien_engines.spec import Source
from mien_export.families.stylegan2_graphs import stylegan2_graphs, w_variance
from mien_export.steps.latent import ProjectionStep, ProjectionTarget
from mien_export.to_bundle import write_bundle

STEPS = 20
RATE, DECAY = 0.05, 0.97
WEIGHTS = (1.0, 0.5, 0.3, 0.01)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    generator, perceptual = tiny()
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(
        folder,
        stylegan2_graphs(generator, perceptual),
        name="tiny",
        family="stylegan2",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={"resolution": CONFIG.resolution, "num_ws": CONFIG.num_ws},
        constants={"w_mean": generator.mapping.w_avg.numpy()},
    )
    return Bundle.open(folder)


def torch_run(
    pictures: np.ndarray, start: np.ndarray, dtype: torch.dtype
) -> tuple[np.ndarray, list[float]]:
    """The same search with autograd, torch.optim.Adam and ExponentialLR."""
    generator, perceptual = tiny()
    target, *wanted = ProjectionTarget(perceptual)(torch.from_numpy(pictures))
    target, wanted = target.to(dtype), [maps.detach().to(dtype) for maps in wanted]
    step = ProjectionStep(
        generator.synthesis, perceptual, CONFIG.resolution, w_variance(generator)
    ).to(dtype)
    ws = torch.from_numpy(start).to(dtype, copy=True).requires_grad_(True)
    adam = torch.optim.Adam([ws], lr=RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(adam, DECAY)
    losses = []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = (step.terms(ws, target, wanted) * torch.tensor(WEIGHTS, dtype=dtype)).sum()
        loss.backward()
        adam.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return ws.detach().numpy(), losses


def reachable(seed: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """A start, and pictures that the generator made of codes not far from it."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((batch, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)
    goal = start + 0.7 * rng.standard_normal(start.shape).astype(np.float32)
    with torch.no_grad():
        image = tiny()[0].synthesis(torch.from_numpy(goal))
    levels = (image * 127.5 + 127.5).clamp(0, 255).round().byte()
    return start, levels.permute(0, 2, 3, 1).contiguous().numpy()


# Where a path passes a kink (a ReLU at zero, a tie in a pooling) any two float32 roundings part
# there, torch's from itself too. These paths pass none: float32 and float64 stay within 1e-5.
@pytest.mark.parametrize(("seed", "batch"), [(5, 1), (2, 3)])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_twenty_steps_are_those_of_autograd_and_adam(
    bundle: Bundle, seed: int, batch: int, backend: str
) -> None:
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    start, pictures = reachable(seed, batch)
    expected, losses = torch_run(pictures, start, torch.float64)
    moved = float(np.abs(expected - start).max())
    assert moved > 0.1
    rounded, _ = torch_run(pictures, start, torch.float32)
    np.testing.assert_allclose(rounded, expected, rtol=0, atol=1e-4 * moved)
    with engine:
        zeros = np.zeros_like(start)
        loop = engine.loop(
            "project_step",
            ws=start,
            m=zeros,
            v=zeros.copy(),
            t=np.zeros(1, np.float32),
            rate=np.array([RATE], np.float32),
            decay=np.array([DECAY], np.float32),
            term_weights=np.array(WEIGHTS, np.float32),
            **engine.run("project_target", picture=pictures),
        )
        for loss in losses:
            loop.step()
            np.testing.assert_allclose(loop.read("loss").sum(), loss, rtol=2e-4)
        found = loop.state()["ws"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * moved)


def test_a_batch_is_searched_as_each_alone(bundle: Bundle, rng: np.random.Generator) -> None:
    size = CONFIG.resolution
    pictures = rng.integers(0, 256, (2, size, size, 3), np.uint8)
    zeros = np.zeros((2, CONFIG.num_ws, CONFIG.w_dim), np.float32)
    with mien_engines.open(bundle, "ort") as engine:

        def gradient(which: slice) -> np.ndarray:
            outputs = engine.run(
                "project_step",
                ws=zeros[which],
                m=zeros[which],
                v=zeros[which],
                t=np.zeros(1, np.float32),
                rate=np.ones(1, np.float32),
                decay=np.ones(1, np.float32),
                term_weights=np.array(WEIGHTS, np.float32),
                **engine.run("project_target", picture=pictures[which]),
            )
            return outputs["m_next"]

        both = gradient(slice(0, 2))
        for i in (0, 1):
            alone = gradient(slice(i, i + 1))
            np.testing.assert_allclose(both[i : i + 1], alone, rtol=0, atol=1e-4 * np.ptp(alone))


RTX = ("mapping", "synthesis", "render", "mix", "project_target", "project_step")


@pytest.mark.parametrize("graph", RTX)
def test_tensorrt_parses_and_builds_without_a_gpu(bundle: Bundle, graph: str) -> None:
    assert_builds(bundle.graph_path(graph))
