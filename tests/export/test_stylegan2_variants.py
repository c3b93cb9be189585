"""StyleGAN2's other architectures and class labels, against the published formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.rtx import BOTH
from tests.export.stylegan2_formulas import LAYERS, Formulas, Tensors, W, Z, nvlabs_tensors
from tests.export.tiny import TinyFeatures
from tests.golden.foreign import write_nvlabs_pkl
from torch import Tensor

import mien_engines
from mien import Studio
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError
from mien_engines.spec import Source
from mien_export.checkpoints import mean_w, read_stylegan2
from mien_export.families.stylegan2 import generator_from_checkpoint
from mien_export.families.stylegan2_graphs import stylegan2_graphs
from mien_export.nets.stylegan2 import Generator
from mien_export.steps.latent import ProjectionTarget
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import write_bundle

ARCHITECTURES = ("orig", "skip", "resnet")
OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range


def made(folder: Path, architecture: str, labels: int, clamp: float | None) -> Path:
    tensors = nvlabs_tensors(architecture, labels)
    path = folder / f"{architecture}-{labels}.pkl"
    return write_nvlabs_pkl(path, tensors, clamp=clamp, architecture=architecture)


def one_hot(labels: int, batch: int) -> Tensor:
    return torch.eye(labels)[torch.arange(batch) % labels]


def close(found: Tensor, expected: Tensor) -> None:
    limit = OF_RANGE * float(expected.max() - expected.min())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("clamp", "noise"), [(None, 1.0), (1.5, 0.5)])
def test_each_architecture_computes_what_is_published(
    tmp_path: Path, architecture: str, clamp: float | None, noise: float
) -> None:
    read = read_stylegan2(made(tmp_path, architecture, 0, clamp))
    assert (read.architecture, read.conv_clamp) == (architecture, clamp)
    reference = Formulas(nvlabs_tensors(architecture, 0), architecture, clamp)
    torch.manual_seed(3)
    ws = torch.randn(3, LAYERS, W)
    expected = reference.synthesis(ws, noise)
    close(generator_from_checkpoint(read).synthesis(ws, noise), expected)
    if clamp is not None:  # it binds
        assert not torch.equal(
            Formulas(reference.tensors, architecture, None).synthesis(ws, noise), expected
        )


@pytest.mark.parametrize("labels", [1, 5])
def test_a_label_is_embedded_beside_z(tmp_path: Path, labels: int) -> None:
    read = read_stylegan2(made(tmp_path, "skip", labels, None))
    assert "takes a label" in read.notes[0]
    generator = generator_from_checkpoint(read)
    assert (generator.config.z_dim, generator.config.label_dim) == (Z, labels)
    torch.manual_seed(4)
    z, label = torch.randn(3, Z), one_hot(labels, 3)
    reference = Formulas(nvlabs_tensors("skip", labels), "skip", None)
    w = generator.mapping(z, label)
    close(w, reference.mapping(z, label))
    average = nvlabs_tensors("skip", labels)["mapping.w_avg"]
    truncated = generator.mapping.truncated(w, torch.full((LAYERS,), 0.25))
    close(truncated[:, 3], (0.75 * average + 0.25 * w).double())


def test_the_mean_w_is_over_classes_that_are_all_as_likely(tmp_path: Path) -> None:
    tensors = nvlabs_tensors("skip", 4)
    del tensors["mapping.w_avg"]
    read = read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors))
    random = np.random.RandomState(42)
    z = torch.from_numpy(random.randn(10_000, Z))
    label = torch.eye(4)[torch.from_numpy(random.randint(4, size=10_000))]
    assert label.mean(0).min() > 0.23
    expected = Formulas(tensors, "skip", None).mapping(z, label).mean(0)
    close(torch.from_numpy(mean_w(read.tensors, 10_000, 42)), expected)
    close(generator_from_checkpoint(read).mapping.w_avg, expected)


BUNDLES = (("orig", 0), ("resnet", 3))
RENDERING = ("mapping", "synthesis", "render", "mix")
PROJECTION = ("project_target", "project_step")


def perceptual() -> Perceptual:
    torch.manual_seed(7)
    return Perceptual(TinyFeatures().eval().requires_grad_(False))


def exported(
    folder: Path, variant: tuple[str, int], names: tuple[str, ...]
) -> tuple[Bundle, Generator]:
    """A bundle of the named graphs, and the network they were made of."""
    generator = generator_from_checkpoint(read_stylegan2(made(folder, *variant, clamp=2.5)))
    write_bundle(
        folder / "bundle",
        [graph for graph in stylegan2_graphs(generator, perceptual()) if graph.name in names],
        name="tiny",
        family="stylegan2",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={
            "resolution": generator.config.resolution,
            "num_ws": LAYERS,
            "w_dim": W,
            "z_dim": Z,
            "label_dim": generator.config.label_dim,
        },
        constants={"w_avg": generator.mapping.w_avg.numpy()},
    )
    return Bundle.open(folder / "bundle"), generator


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda variant: variant[0])
def rendering(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Generator]:
    return exported(tmp_path_factory.mktemp("bundles"), request.param, RENDERING)


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Generator]:
    names = ("mapping", "render", *PROJECTION)
    return exported(tmp_path_factory.mktemp("bundles"), ("resnet", 3), names)


@pytest.mark.parametrize("batch", [1, 3])
def test_graphs_compute_what_the_network_does(
    rendering: tuple[Bundle, Generator], rng: np.random.Generator, batch: int
) -> None:
    bundle, generator = rendering
    labels = generator.config.label_dim
    z = rng.standard_normal((batch, Z)).astype(np.float32)
    feeds = {"label": one_hot(labels, batch).numpy()} if labels else {}
    with mien_engines.open(bundle, "ort") as engine:
        mapped = engine.run("mapping", z=z, psi=np.full(LAYERS, 0.5, np.float32), **feeds)
        image = engine.run("synthesis", ws=mapped["ws"], noise=np.ones(1, np.float32))["image"]
    w = generator.mapping(torch.from_numpy(z), *map(torch.from_numpy, feeds.values()))
    ws = generator.mapping.truncated(w, torch.full((LAYERS,), 0.5))
    close(torch.from_numpy(mapped["w"]), w.double())
    close(torch.from_numpy(image), generator.synthesis(ws).double())


def test_a_studio_draws_a_face_of_a_class(rendering: tuple[Bundle, Generator]) -> None:
    bundle, generator = rendering
    with Studio(bundle.folder, backend="ort") as studio:
        if not studio.label_dim:
            assert studio.sample(1).shape == (LAYERS, W)
            with pytest.raises(InputError, match=r"label is 0, .* without classes"):
                studio.sample(1, label=0)
            return
        for wrong in (None, -1, studio.label_dim):
            with pytest.raises(InputError, match=rf"label is {wrong}, .* are 0 to 2"):
                studio.sample(1, label=wrong)
        z = torch.from_numpy(np.random.RandomState(5).randn(1, Z)).float()
        for label in range(studio.label_dim):
            w = generator.mapping(z, one_hot(studio.label_dim, 3)[[label]])
            expected = generator.mapping.truncated(w, torch.ones(LAYERS))[0]
            close(torch.from_numpy(studio.sample(5, psi=1.0, label=label)), expected.double())


@pytest.mark.slow
def test_the_step_follows_the_gradient_of_autograd(
    projection: tuple[Bundle, Generator], rng: np.random.Generator
) -> None:
    bundle, generator = projection
    size = generator.config.resolution
    ws = rng.standard_normal((1, LAYERS, W)).astype(np.float32)
    picture = rng.integers(0, 256, (1, size, size, 3), np.uint8)
    zeros, one = np.zeros_like(ws), np.ones(1, np.float32)
    with mien_engines.open(bundle, "ort") as engine:
        outputs = engine.run(
            "project_step", ws=ws, m=zeros, v=zeros, t=0 * one, rate=one, decay=one,
            term_weights=np.array([0, 0, 1, 0], np.float32),
            **engine.run("project_target", picture=picture),
        )  # fmt: skip
    target = ProjectionTarget(perceptual())(torch.from_numpy(picture))[0]
    code = torch.from_numpy(ws).requires_grad_(True)
    loss = (generator.synthesis(code) - target).square().mean()
    (gradient,) = torch.autograd.grad(loss, code)
    close(torch.from_numpy(outputs["m_next"] / 0.1), gradient.double())


@BOTH
@pytest.mark.parametrize("graph", RENDERING)
def test_tensorrt_parses_and_builds_without_a_gpu(
    rendering: tuple[Bundle, Generator], graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(rendering[0].graph_path(graph), largest_batch=3)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("graph", PROJECTION)
def test_tensorrt_parses_and_builds_the_step(
    projection: tuple[Bundle, Generator], graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(projection[0].graph_path(graph), largest_batch=3)


def no_shortcut(tensors: Tensors) -> None:
    del tensors["synthesis.b16.skip.weight"]


def paints_too_early(tensors: Tensors) -> None:
    tensors["synthesis.b8.torgb.weight"] = torch.zeros(3, 8, 1, 1)


def no_bias_of_labels(tensors: Tensors) -> None:
    del tensors["mapping.embed.bias"]


def labels_alone(tensors: Tensors) -> None:
    tensors["mapping.fc0.weight"] = torch.zeros(W, W)


def another_embedding(tensors: Tensors) -> None:
    tensors["mapping.embed.weight"] = torch.zeros(W - 2, 3)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (no_shortcut, r"lacks 1 of .* resnet architecture: synthesis\.b16\.skip\.weight"),
        (paints_too_early, r"resnet architecture has no place for.* synthesis\.b8\.torgb"),
        (no_bias_of_labels, r"lacks 1 of .* class-conditional StyleGAN2.*: mapping\.embed\.bias"),
        (labels_alone, r"fc0\.weight has 14 columns, expected more than 14"),
        (another_embedding, r"embed\.weight has shape \(12, 3\), expected \(14, 3\)"),
    ],
)
def test_damaged_variants_are_named(
    tmp_path: Path, change: Callable[[Tensors], None], text: str
) -> None:
    tensors = nvlabs_tensors("resnet", 3)
    change(tensors)
    with pytest.raises(ArchMismatch, match=text):
        read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors, architecture="resnet"))


@pytest.mark.parametrize(
    ("tensors_of", "said"), [p for p in itertools.product(ARCHITECTURES, repeat=2) if len({*p}) > 1]
)
def test_tensors_and_attributes_must_tell_the_same_architecture(
    tmp_path: Path, tensors_of: str, said: str
) -> None:
    tensors = nvlabs_tensors(tensors_of, 0)
    with pytest.raises(ArchMismatch, match=f"architecture is {said}, expected {tensors_of}"):
        read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors, architecture=said))
