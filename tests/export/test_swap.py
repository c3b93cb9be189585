"""The swap step against torch's autograd and torch's own Adam, and the verb that runs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import BOTH, assert_builds
from tests.export.test_arcface import tell
from tests.export.test_arcface import tiny as recogniser_tensors
from tests.export.test_gradient import GradientOf
from tests.export.tiny import CONFIG, tiny
from torch import Tensor, nn

import mien
import mien_engines
from mien.cli.main import main
from mien.images import load, save
from mien.studio import Studio
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError, MienError
from mien_engines.spec import Source
from mien_export.checkpoints.arcface import ArcfaceCheckpoint
from mien_export.content import Extras
from mien_export.export import export
from mien_export.families.arcface import Net, framing, network
from mien_export.families.stylegan2_graphs import stylegan2_graphs, w_variance
from mien_export.nets.batch_norm import BatchNorm
from mien_export.nets.encoder import Encoder, EncoderConfig
from mien_export.nets.recogniser import Recogniser
from mien_export.nets.separable import aligned_face, bicubic
from mien_export.steps.latent import ProjectionTarget
from mien_export.steps.swap import TERMS, IdentityTarget, SwapStep, surroundings
from mien_export.to_bundle import write_bundle
from mien_export.to_onnx import onnx_from_module

STEPS = 20
RATE, DECAY = 0.05, 0.97
WEIGHTS = (1.0, 0.5, 2.0, 1.5, 0.3, 1.0)
SIZE = CONFIG.resolution

MAIN = "iresnet"


def recognition(kind: str) -> Net:
    """A random recogniser whose running statistics are no one's default."""
    tensors = {name: x.numpy() for name, x in recogniser_tensors(kind).items()}
    return network(ArcfaceCheckpoint(tensors, tell(kind), ""))


def encoder() -> Encoder:
    torch.manual_seed(2)
    config = EncoderConfig(SIZE, CONFIG.num_ws, CONFIG.w_dim, (8, 12), (0, 0), 8, 16, 4)
    return Encoder(config).eval().requires_grad_(False)


UNUSED = ("mapping", "synthesis", "mix", "project_step")  # each takes seconds to export


def written(kind: str, folder: Path, without: Sequence[str] = UNUSED) -> Bundle:
    generator, perceptual = tiny()
    graphs = stylegan2_graphs(generator, perceptual, encoder(), recognition(kind))
    write_bundle(
        folder,
        [graph for graph in graphs if graph.name not in without],
        name="tiny",
        family="stylegan2",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={
            "resolution": SIZE,
            "num_ws": CONFIG.num_ws,
            "w_dim": CONFIG.w_dim,
            "z_dim": CONFIG.z_dim,
        },
        constants={"w_mean": generator.mapping.w_avg.numpy()},
    )
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(MAIN, tmp_path_factory.mktemp("bundles") / "tiny")


def step_of(kind: str, dtype: torch.dtype) -> SwapStep:
    generator, perceptual = tiny()
    recogniser = Recogniser(recognition(kind), framing(recognition(kind), SIZE))
    variance = w_variance(generator)
    return SwapStep(generator.synthesis, perceptual, recogniser, SIZE, variance).to(dtype)


def faces(seed: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A start, pictures of codes not far from it, and pictures of others."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((batch, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)

    def picture(scale: float) -> np.ndarray:
        goal = start + scale * rng.standard_normal(start.shape).astype(np.float32)
        with torch.no_grad():
            image = tiny()[0].synthesis(torch.from_numpy(goal))
        levels = (image * 127.5 + 127.5).clamp(0, 255).round().byte()
        return levels.permute(0, 2, 3, 1).contiguous().numpy()

    return start, picture(0.7), picture(1.5)


def torch_run(
    kind: str, start: np.ndarray, attributes: np.ndarray, donors: np.ndarray, dtype: torch.dtype
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The same search with autograd, torch.optim.Adam and ExponentialLR."""
    step = step_of(kind, torch.float32)
    target, *wanted = ProjectionTarget(step.perceptual)(torch.from_numpy(attributes))
    identity = IdentityTarget(step.recogniser)(torch.from_numpy(donors)).detach().to(dtype)
    target, wanted = target.to(dtype), [maps.detach().to(dtype) for maps in wanted]
    step = step_of(kind, dtype)
    first = torch.from_numpy(start).to(dtype)
    ws = first.clone().requires_grad_(True)
    adam = torch.optim.Adam([ws], lr=RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(adam, DECAY)
    found = []
    for _ in range(STEPS):
        adam.zero_grad()
        terms = step.terms(ws, first, identity, target, wanted)
        (terms * torch.tensor(WEIGHTS, dtype=dtype)).sum().backward()
        adam.step()
        schedule.step()
        found.append(terms.detach().numpy())
    return ws.detach().numpy(), found


def feeds(
    engine: mien_engines.Engine, start: np.ndarray, attributes: np.ndarray, donors: np.ndarray
) -> dict[str, np.ndarray]:
    zeros = np.zeros_like(start)
    return {
        "ws": start,
        "m": zeros,
        "v": zeros.copy(),
        "t": np.zeros(1, np.float32),
        "start": start.copy(),
        "rate": np.array([RATE], np.float32),
        "decay": np.array([DECAY], np.float32),
        "term_weights": np.array(WEIGHTS, np.float32),
        **engine.run("swap_identity", picture=donors),
        **engine.run("project_target", picture=attributes),
    }


# As in test_step, on paths that pass no kink: float32 and float64 stay together.
@pytest.mark.parametrize(("seed", "batch"), [(4, 1), (19, 3)])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_twenty_steps_are_those_of_autograd_and_adam(
    bundle: Bundle, seed: int, batch: int, backend: str
) -> None:
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    start, attributes, donors = faces(seed, batch)
    expected, terms = torch_run(MAIN, start, attributes, donors, torch.float64)
    moved = float(np.abs(expected - start).max())
    assert moved > 0.1
    assert terms[-1][:, -1].mean() < 0.9 * terms[0][:, -1].mean()  # nearer to the donors
    rounded, _ = torch_run(MAIN, start, attributes, donors, torch.float32)
    np.testing.assert_allclose(rounded, expected, rtol=0, atol=1e-4 * moved)
    with engine:
        loop = engine.loop("swap_step", **feeds(engine, start, attributes, donors))
        for values in terms:
            loop.step()
            np.testing.assert_allclose(loop.read("terms"), values, rtol=1e-3, atol=2e-5)
        state = loop.state()
    np.testing.assert_allclose(state["ws"], expected, rtol=0, atol=1e-4 * moved)
    np.testing.assert_array_equal(state["start"], start)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ir_se", "mobilefacenet"])
def test_other_recognisers_give_the_gradient_of_autograd(kind: str, tmp_path: Path) -> None:
    start, attributes, donors = faces(4, 3)
    weights = np.array([0, 0, 0, 0, 0, 1], np.float32)  # the identity alone
    with mien_engines.open(written(kind, tmp_path / "tiny"), "ort") as engine:
        inputs = feeds(engine, start, attributes, donors) | {"term_weights": weights}
        found = engine.run("swap_step", **inputs)["m_next"] / 0.1  # Adam's first moment
    step = step_of(kind, torch.float64)
    ws = torch.from_numpy(start).double().requires_grad_(True)
    names = sorted(n for n in inputs if n.startswith("wanted_"))
    identity, target = (torch.from_numpy(inputs[n]).double() for n in ("identity", "target"))
    wanted = [torch.from_numpy(inputs[n]).double() for n in names]
    terms = step.terms(ws, ws.detach(), identity, target, wanted)
    terms[:, TERMS.index("identity")].sum().backward()
    assert ws.grad is not None
    np.testing.assert_allclose(
        found, ws.grad.numpy(), rtol=0, atol=2e-4 * float(ws.grad.abs().max())
    )


def test_a_batch_is_searched_as_each_alone(bundle: Bundle) -> None:
    start, attributes, donors = faces(7, 3)
    with mien_engines.open(bundle, "ort") as engine:

        def gradient(which: slice) -> np.ndarray:
            chosen = feeds(engine, start[which], attributes[which], donors[which])
            return engine.run("swap_step", **chosen)["m_next"]

        together = gradient(slice(None))
        for i in range(3):
            alone = gradient(slice(i, i + 1))
            np.testing.assert_allclose(
                together[i : i + 1], alone, rtol=0, atol=1e-4 * np.ptp(alone)
            )


def test_the_terms_are_zero_for_the_face_itself(bundle: Bundle) -> None:
    start, pictures, _ = faces(3, 2)
    step = step_of(MAIN, torch.float32)
    with torch.no_grad():
        image = step.synthesis(torch.from_numpy(start))
        wanted = step.perceptual.features(image)
        own = {"target": image, "identity": step.recogniser(image)}
    own |= {f"wanted_{i}": maps for i, maps in enumerate(wanted)}
    with mien_engines.open(bundle, "ort") as engine:
        inputs = feeds(engine, start, pictures, pictures)
        inputs |= {name: tensor.numpy() for name, tensor in own.items()}
        terms = engine.run("swap_step", **inputs)["terms"]
    assert terms.shape == (2, len(TERMS))
    np.testing.assert_allclose(terms, 0, atol=1e-5)


@pytest.mark.parametrize("size", [48, 64, 1024])
def test_surroundings_are_what_is_not_the_face(size: int) -> None:
    weight = surroundings(size).numpy()
    assert weight.shape == (size, size)
    np.testing.assert_allclose(weight, weight[:, ::-1], rtol=0, atol=1e-5)
    assert (weight[0] == 1).all()
    assert (weight[:, 0] == 1).all()
    for y, x in ((0.48, 0.38), (0.48, 0.62), (0.6, 0.5), (0.72, 0.5)):  # eyes, nose, mouth
        assert weight[int(y * size), int(x * size)] == 0
    ellipse = np.pi * 0.30 * 0.36 * (1 + 0.25 + 0.25**2 / 3)  # its weight falls along the radius
    assert 1 - weight.mean() == pytest.approx(ellipse, abs=0.01)


def depthwise(width: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    torch.manual_seed(kernel)
    return nn.Conv2d(width, width, kernel, stride, padding, groups=width, bias=False)


def normed() -> BatchNorm:
    torch.manual_seed(1)
    norm = BatchNorm(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    "PReLU": nn.PReLU(4, init=0.3),
    "ReLU6": lambda x: F.relu6(4 * x + 3),
    "batch norm": normed(),
    "depthwise convolution that strides": depthwise(4, 3, 2, 1),
    "depthwise convolution that strides, even": depthwise(4, 4, 2, 1),
    "global depthwise convolution": depthwise(4, 16),
    "global mean": lambda x: x.mean((2, 3), keepdim=True) * x,
    "squeeze": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "bicubic shrinking": bicubic(16, 7),
    "bicubic enlarging": bicubic(16, 21),
    "the face cut out": aligned_face(16, 7),
    "means of cells": lambda x: F.avg_pool2d(x, 4),
    "unit length": lambda x: Recogniser(nn.Flatten())(x) * torch.linspace(-40, 40, 1024),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_recognisers_has_the_gradient_of_autograd(name: str) -> None:
    layer = LAYERS[name]
    layers = [layer] if isinstance(layer, nn.Module) else []
    for module in layers:
        module.requires_grad_(False)
    model = onnx_from_module(
        GradientOf(lambda x: layer(x).sin()), [torch.randn(2, 4, 16, 16)], ["x"], ["gradient"]
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (1, 3):
        x = torch.randn(batch, 4, 16, 16, generator=torch.Generator().manual_seed(batch))
        leaf = x.double().requires_grad_(True)
        for module in layers:
            module.double()
        layer(leaf).sin().square().sum().backward()
        for module in layers:
            module.float()
        assert leaf.grad is not None
        (found,) = session.run(None, {"x": x.numpy()})
        scale = float(leaf.grad.abs().max())
        np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=0, atol=2e-5 * scale)


def test_a_published_resize_is_that_of_torch(rng: np.random.Generator) -> None:
    net = recognition("iresnet")
    image = torch.from_numpy(rng.uniform(-1, 1, (3, 3, SIZE, SIZE)).astype(np.float32))
    resized = F.interpolate(image, (net.size, net.size), mode="bicubic", align_corners=False)
    expected = F.normalize(net(resized)).numpy()
    found = Recogniser(net, framing(net, SIZE))(image).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


ENCODED = mien.SwapSettings(steps=8, codes="encoded")


def swapped(bundle: Bundle, settings: mien.SwapSettings = ENCODED, **options: Any) -> mien.Swap:
    _, attributes, donors = faces(6, 1)
    with Studio(bundle.folder, backend="ort") as studio:
        return studio.swap(
            identity=donors[0], attributes=attributes[0], settings=settings, **options
        )


def test_a_swap_comes_nearer_to_the_donor_and_says_that_it_is_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    first = swapped(bundle, replace(ENCODED, steps=1, rate=0.0, layers=()))
    found = swapped(bundle, replace(ENCODED, steps=30, identity=30.0, layers=()))
    assert 1 - found.cosine < 0.5 * (1 - first.cosine)
    assert found.steps == 30
    assert found.cosine == pytest.approx(1 - found.terms["identity"])
    assert found.distance == found.terms["perceptual"]
    assert np.asarray(found).shape == (CONFIG.num_ws, CONFIG.w_dim)
    saved = found.save(tmp_path / "swapped.png")
    _, attributes, donors = faces(6, 1)
    said = mien.provenance.read(saved)
    assert said is not None
    assert said.edits == ("swap",)
    assert said.sources == tuple(map(mien.provenance.digest, (donors[0], attributes[0])))
    np.testing.assert_array_equal(load(saved), found.picture.array)
    np.testing.assert_array_equal(np.load(found.save_code(tmp_path / "code.npy")), found.ws)


def test_a_swap_resumes_to_the_same_bits(bundle: Bundle, tmp_path: Path) -> None:
    whole = swapped(bundle, every=2)
    stop, run = threading.Event(), tmp_path / "run.npz"
    broken = swapped(
        bundle, every=2, save=run, stop=stop,
        callback=lambda step: stop.set() if step.step >= 4 else None,
    )  # fmt: skip
    assert not broken.finished
    resumed = swapped(bundle, every=2, save=run, resume=True)
    np.testing.assert_array_equal(resumed.ws, whole.ws)
    assert resumed.terms == whole.terms
    with pytest.raises(InputError, match="another settings"):
        swapped(bundle, replace(ENCODED, identity=2.0), save=run, resume=True)


def test_the_run_begins_where_the_settings_say(bundle: Bundle) -> None:
    still = replace(ENCODED, steps=1, rate=0.0)
    _, attributes, donors = faces(6, 1)
    with Studio(bundle.folder, backend="ort") as studio:
        content, style = studio.invert(attributes[0]), studio.invert(donors[0])
    begun = swapped(bundle, replace(still, layers="4-7")).ws
    np.testing.assert_allclose(begun, mien.mix(content, style, layers="4-7"), atol=1e-5)
    np.testing.assert_array_equal(begun[4:8], swapped(bundle, replace(still, layers="all")).ws[4:8])
    np.testing.assert_allclose(swapped(bundle, replace(still, layers=())).ws, content, atol=1e-5)
    given = np.ones_like(begun)
    np.testing.assert_array_equal(swapped(bundle, still, start=given).ws, given)
    with pytest.raises(InputError, match=r"start has shape \(3, 4\)"):
        swapped(bundle, start=np.zeros((3, 4)))
    with pytest.raises(InputError, match="layer 99"):
        swapped(bundle, replace(ENCODED, layers=99))


@pytest.mark.slow
def test_faces_are_projected_where_the_settings_say_so(tmp_path: Path) -> None:
    bundle = written(MAIN, tmp_path / "tiny", without=("invert",))
    still = mien.SwapSettings(steps=1, rate=0.0, layers="4-7")
    _, attributes, donors = faces(6, 1)
    with Studio(bundle.folder, backend="ort") as studio:
        content, style = studio.project_all([attributes[0], donors[0]])
    begun = swapped(bundle, still).ws
    np.testing.assert_array_equal(begun, mien.mix(content, style, layers="4-7"))
    with pytest.raises(InputError, match="no encoder"):
        swapped(bundle)


def test_the_command_line_swaps(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, attributes, donors = faces(6, 1)
    photos = [str(save(p[0], tmp_path / n)) for p, n in ((donors, "d.png"), (attributes, "a.png"))]
    arguments = [
        "swap", *photos, "-o", str(tmp_path / "s.png"), "--aligned", "--bundle",
        str(bundle.folder), "--backend", "ort", "--steps", "8", "--code", str(tmp_path / "c.npy"),
        "--encoded",
    ]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["steps"] == 8
    assert record["cosine"] == pytest.approx(swapped(bundle).cosine, abs=1e-5)
    np.testing.assert_array_equal(load(tmp_path / "s.png"), swapped(bundle).picture.array)
    assert main([*arguments, "--layers", "none", "--start", str(tmp_path / "c.npy")]) == 0
    assert "to the donor" in capsys.readouterr().out


def test_tensorrt_parses_and_builds_the_step_without_a_gpu(bundle: Bundle) -> None:
    assert_builds(bundle.graph_path("swap_step"))


@BOTH
def test_tensorrt_parses_and_builds_the_donors_embedding(
    bundle: Bundle, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(bundle.graph_path("swap_identity"))


@pytest.mark.slow
def test_export_adds_the_swap_where_a_recogniser_is_given(
    rosinality_pt: Path, tmp_path: Path
) -> None:
    torch.save(recogniser_tensors("mobilefacenet"), tmp_path / "net.pth")
    extras = Extras(arcface=tmp_path / "net.pth")
    export("stylegan2", rosinality_pt, tmp_path / "bundle", extras)
    spec = Bundle.open(tmp_path / "bundle").spec
    assert {"swap_identity", "swap_step", "project_step"} <= spec.graphs.keys()
    assert spec.properties["recogniser"] == "mobilefacenet"


def test_without_a_recogniser_there_are_no_graphs_of_it() -> None:
    without = {graph.name for graph in stylegan2_graphs(*tiny())}
    with_it = {graph.name for graph in stylegan2_graphs(*tiny(), recogniser=recognition(MAIN))}
    assert with_it - without == {"swap_identity", "swap_step"}


def test_another_network_is_no_recogniser(rosinality_pt: Path, tmp_path: Path) -> None:
    extras = Extras(arcface=rosinality_pt)
    with pytest.raises(ArchMismatch, match=r"rosinality\.pt is no recognition network"):
        export("stylegan2", rosinality_pt, tmp_path / "bundle", extras)
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(InputError, match="no use for --arcface"):
        export("arcface", rosinality_pt, tmp_path / "bundle", extras)
