"""The graphs of local editing, of both StyleGANs, against their formulas; edits of a StyleGAN1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.export.rtx import BOTH
from tests.export.test_stylegan1 import WIDTHS, saved, tiny_tensors
from tests.export.tiny import SMALL, tiny

import mien_engines
from mien import Studio
from mien.bundles import DETECTOR, built_in
from mien.edits.local import part_mask
from mien.errors import ArchMismatch, InputError, MienError, NoFace
from mien_engines import Bundle
from mien_engines.spec import Source
from mien_export.checkpoints import read_stylegan1
from mien_export.checkpoints.layout import Architecture
from mien_export.families.local_graphs import Features, local_graphs
from mien_export.families.stylegan1 import generator_from_checkpoint, stylegan1_graphs
from mien_export.families.stylegan2_graphs import FromStyles, Styles
from mien_export.families.w_plus import w_plus_graphs
from mien_export.graph import Graph
from mien_export.nets.stylegan2 import Generator
from mien_export.to_bundle import write_bundle

ARCHITECTURES: tuple[Architecture, ...] = ("orig", "skip", "resnet")
GRAPHS = ("styles", "render_styles", "features")


def generator_of(architecture: Architecture) -> Generator:
    return tiny(replace(SMALL, architecture=architecture))[0]


def graphs_of(generator: Generator, *, local: bool = True) -> list[Graph]:
    synthesis, config = generator.synthesis, generator.config
    ws = torch.randn(2, config.num_ws, config.w_dim, generator=torch.Generator().manual_seed(1))
    features = Features(synthesis, synthesis.layers(), entering=True)
    size = config.resolution
    own = local_graphs(Styles(synthesis), FromStyles(synthesis), features, ws, size, "scales")
    render = next(g for g in w_plus_graphs(synthesis, ws, size) if g.name == "render")
    return [render, *(own if local else [])]


def wrote(folder: Path, graphs: list[Graph], properties: dict[str, Any]) -> Bundle:
    family = "stylegan1" if folder.name == "stylegan1" else "stylegan2"
    source = Source(file="none", format="random weights", sha256="0" * 64, licence="none")
    write_bundle(
        folder,
        graphs,
        name=folder.name,
        family=family,
        source=source,
        properties=properties,
        constants={},
    )
    return Bundle.open(folder)


def written(folder: Path, generator: Generator, *, local: bool = True) -> Bundle:
    config = generator.config
    properties = {
        "resolution": config.resolution,
        "num_ws": config.num_ws,
        "w_dim": config.w_dim,
        "style_channels": [*generator.synthesis.style_channels],
    }
    return wrote(folder, graphs_of(generator, local=local), properties)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("local")
    return {name: written(folder / name, generator_of(name)) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def stylegan1(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("stylegan1")
    read = read_stylegan1(saved(tiny_tensors(), folder))
    graphs = stylegan1_graphs(generator_from_checkpoint(read))
    return wrote(
        folder / "stylegan1",
        [graph for graph in graphs if graph.name in (*GRAPHS, "mapping", "render")],
        {
            "resolution": 128,
            "num_ws": 12,
            "w_dim": 20,
            "z_dim": 24,
            "label_dim": 0,
            "style_channels": [w for w in WIDTHS for _ in (0, 1)],
        },
    )


def close(found: Any, expected: Any) -> None:
    wanted = np.asarray(expected)
    limit = 1e-4 * max(1e-3, float(np.ptp(wanted)))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-4, atol=limit)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "ov"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stylegan2s_styles_are_affine_and_its_features_what_they_scale(
    bundles: dict[str, Bundle],
    rng: np.random.Generator,
    architecture: Architecture,
    backend: str,
    batch: int,
) -> None:
    generator = generator_of(architecture)
    state, synthesis = generator.state_dict(), generator.synthesis
    ws = rng.standard_normal((batch, generator.config.num_ws, 24)).astype(np.float32)
    try:
        engine = mien_engines.open(bundles[architecture], backend)
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        styles = engine.run("styles", ws=ws)["styles"]
        features = list(engine.run("features", ws=ws).values())
        drawn = engine.run("render_styles", styles=styles)
        whole = engine.run("render", ws=ws)
    # As published: w i for convolution i, w 2b + 1 for the toRGB of block b.
    names = ["b4.conv1", *(f"b{4 << b}.conv{i}" for b in (1, 2, 3) for i in (0, 1))]
    rgb = {2 * b + 1: f"b{4 << b}.torgb" for b in range(4)}
    places = [*enumerate(names), *((i, n) for i, n in rgb.items() if has(state, n))]
    expected = [
        ws[:, i] @ state[f"synthesis.{name}.affine.weight"].numpy().T / np.float32(np.sqrt(24))
        + state[f"synthesis.{name}.affine.bias"].numpy()
        for i, name in places
    ]
    close(styles, np.concatenate(expected, 1))
    assert np.abs(drawn["picture"].astype(int) - whole["picture"]).max() <= 1
    close(drawn["energy"], whole["energy"])
    close(features[0], np.broadcast_to(state["synthesis.b4.const"].numpy(), features[0].shape))
    assert [x.shape[1] for x in features] == bundles[architecture].spec.properties["style_channels"]
    layers = synthesis.layers()
    assert len(features) == len(layers) == len(names)
    # A residual block adds its shortcut behind the second convolution.
    followed = range(1, 6, 2) if architecture == "resnet" else range(len(layers) - 1)
    for i in followed:
        after = layers[i](torch.from_numpy(features[i]), torch.from_numpy(expected[i]), 1.0)
        close(features[i + 1], after.detach())


def has(state: dict[str, torch.Tensor], name: str) -> bool:
    return f"synthesis.{name}.weight" in state


@pytest.mark.parametrize("batch", [1, 3])
def test_stylegan1s_features_have_the_moments_of_their_styles(
    stylegan1: Bundle, rng: np.random.Generator, batch: int
) -> None:
    ws = rng.standard_normal((batch, 12, 20)).astype(np.float32)
    with mien_engines.open(stylegan1, "ort") as engine:
        styles = engine.run("styles", ws=ws)["styles"]
        features = list(engine.run("features", ws=ws).values())
    channels = stylegan1.spec.properties["style_channels"]
    assert [x.shape[1] for x in features] == channels
    assert [x.shape[2] for x in features] == [4 << i // 2 for i in range(12)]
    each = np.split(styles, np.cumsum(channels)[:-1], 2)
    for x, (scale, shift) in zip(features, (s.transpose(1, 0, 2) for s in each), strict=True):
        np.testing.assert_allclose(x.mean((2, 3)), shift, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(x.std((2, 3)), np.abs(scale + 1), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("shift", [False, True])
def test_a_stylegan1_is_edited_as_published(stylegan1: Bundle, shift: bool) -> None:
    with Studio(stylegan1.folder, backend="ort") as studio:
        face, other = studio.sample(1), studio.sample(2)
        parts = {"eyes": [0, 2], "nose": [1]}
        made = studio.make_catalogue(parts=parts, samples=4, clusters=5, layer="32px")
        how: dict[str, Any] = {"rho": 0.15, "epsilon": 3.0}
        found = studio.edit(face, other, part="eyes", shift=shift, catalogue=made, **how)
        a, b = studio.engine.run("styles", ws=np.stack([face, other]))["styles"]
        q = part_mask(made, "eyes", **how).astype(np.float32)
        assert 0 < q.sum() < len(q)
        wanted = a.copy()
        wanted[0] = (1 - q) * a[0] + q * b[0]  # Eq. 5: the scale
        if shift:
            wanted[1] = (1 - q) * a[1] + q * b[1]
        np.testing.assert_array_equal(found.styles, wanted)
        drawn = studio.engine.run("render_styles", styles=wanted[None])["picture"][0]
        np.testing.assert_array_equal(found.picture.array, drawn)
        assert found.picture.edits == ("edit eyes",)
        assert made.layer == 6
        assert made.channels == tuple(stylegan1.spec.properties["style_channels"])  # type: ignore[arg-type]
        total = made.contributions.astype(np.float64).sum(0)
        # A channel that hardly varies adds less, by the epsilon of its variance.
        assert (total < 1.02).all()
        assert np.median(total) > 0.98


def test_one_studio_has_one_generator(stylegan1: Bundle, bundles: dict[str, Bundle]) -> None:
    with pytest.raises(InputError, match=r"both draw W\+ codes"):
        Studio(stylegan1.folder, bundles["skip"].folder, backend="ort")


def test_without_its_graphs_the_error_says_what_to_do(tmp_path: Path) -> None:
    bundle = written(tmp_path / "old", generator_of("skip"), local=False)
    with Studio(bundle.folder, backend="ort") as studio:
        face = np.zeros((studio.num_ws, studio.w_dim), np.float32)
        with pytest.raises(ArchMismatch, match=r"has no graph styles.*Export its checkpoint again"):
            studio.edit(face, face, part="eyes")


def test_a_catalogue_of_no_faces_names_no_parts(stylegan1: Bundle) -> None:
    if DETECTOR not in built_in():
        pytest.skip("this copy of mien has no detector")
    with (
        Studio(stylegan1.folder, backend="ort") as studio,
        pytest.raises(NoFace, match=r"in any of 2 samples.*Name them yourself"),
    ):
        studio.make_catalogue(samples=2, clusters=4)


@BOTH
@pytest.mark.parametrize("graph", GRAPHS)
def test_tensorrt_parses_and_builds_without_a_gpu(
    bundles: dict[str, Bundle], graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(bundles["skip"].graph_path(graph), largest_batch=3)
