"""StyleGAN1: the official outputs, both layouts of its file, its bundle, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.export.rtx import BOTH
from tests.golden import load_golden, seeded
from tests.golden.foreign import golden_tensors

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError, MienError
from mien_export.checkpoints import read_stylegan1, read_stylegan2
from mien_export.content import Extras
from mien_export.export import export
from mien_export.families.stylegan1 import generator_from_checkpoint
from mien_export.nets.stylegan1 import Generator, generator_from_tensors
from mien_export.nets.stylegan1_synthesis import UpConvolution

F32 = NDArray[np.float32]
Tensors = dict[str, torch.Tensor]

GOLDEN = "stylegan1-128"
OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range
WIDTHS, Z, W = (12, 12, 10, 8, 8, 6), 24, 20  # 128 px, so that both up-convolutions occur
GRAPHS = {"mapping", "styles", "synthesis", "render_styles", "features", "render", "mix"}


def tiny_tensors(widths: tuple[int, ...] = WIDTHS, z: int = Z, w: int = W) -> Tensors:
    """IVRL's names and shapes at small sizes, filled by name."""
    shapes: dict[str, tuple[int, ...]] = {"truncation.avg_latent": (w,)}
    for i in range(3):
        shapes |= {f"g_mapping.dense{i}.weight": (w, w if i else z)}
        shapes |= {f"g_mapping.dense{i}.bias": (w,)}
    before = widths[0]
    for i, width in enumerate(widths):
        size = f"{4 << i}x{4 << i}"
        block = f"g_synthesis.blocks.{size}"
        convs = {"conv0_up": before, "conv1": width} if i else {"conv": width}
        for conv, c_in in convs.items():
            shapes |= {f"{block}.{conv}.weight": (width, c_in, 3, 3)}
            shapes |= {f"{block}.{conv}.bias": (width,)}
        if i == 0:
            shapes |= {f"{block}.const": (1, width, 4, 4), f"{block}.bias": (width,)}
        for j in (0, 1):
            shapes |= {f"{block}.epi{j + 1}.top_epi.noise.weight": (width,)}
            shapes |= {f"g_style.style_layers.{size}_{j}.lin.weight": (2 * width, w)}
            shapes |= {f"g_style.style_layers.{size}_{j}.lin.bias": (2 * width,)}
        before = width
    shapes |= {"g_synthesis.torgb.weight": (3, before, 1, 1), "g_synthesis.torgb.bias": (3,)}
    return {k: torch.from_numpy(np.array(seeded.tensor(k, s, "unit"))) for k, s in shapes.items()}


def lernapparat(tensors: Tensors) -> Tensors:
    """The same network as it was before IVRL: styles inside the epilogues, no mean w."""
    found = {}
    for name, value in tensors.items():
        if name.startswith("g_style.style_layers."):
            place, _, part = name.removeprefix("g_style.style_layers.").partition(".")
            size, _, layer = place.partition("_")
            name = f"g_synthesis.blocks.{size}.epi{int(layer) + 1}.style_mod.{part}"
        if not name.startswith("truncation."):
            found[name] = value
    return found


def saved(tensors: Tensors, folder: Path) -> Path:
    path = folder / "stylegan1.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def tiny_pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_tensors(), tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def bundle(tiny_pth: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "stylegan1"
    notes = export("stylegan1", tiny_pth, folder)
    assert notes == ("no noise in the file: it is drawn once, with seed 0",)
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def generator(tiny_pth: Path) -> Generator:
    return generator_from_checkpoint(read_stylegan1(tiny_pth))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Everything that the golden file lists, from a file of its format."""
    tensors = golden_tensors(GOLDEN)
    blur = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    sizes = [4, 8, 16, 32, 64, 128]
    for size in sizes[1:]:
        name = f"g_synthesis.blocks.{size}x{size}.conv0_up.intermediate.kernel"
        tensors[name] = blur[None, None]
    read = read_stylegan1(saved(tensors, tmp_path_factory.mktemp("golden")))
    noise = [seeded.draw(f"{GOLDEN}/noise_{r}_{j}", (1, 1, r, r)) for r in sizes for j in (0, 1)]
    net = generator_from_tensors(read.tensors, [torch.from_numpy(x[0, 0]) for x in noise])
    w = net.g_mapping(torch.from_numpy(seeded.draw(f"{GOLDEN}/z", (2, 512))))
    ws = net.truncation(w, torch.full((12,), 0.7))
    styles = net.g_style(ws)
    return {
        "w": w,
        "w_truncated_first": ws[:, 0],
        "style_0": styles[:, :, :512],
        "style_last": styles[:, :, -128:],
        "image": net(ws),
        "image_zero_noise": net(ws, 0.0),
    }


@pytest.mark.parametrize("output", load_golden(GOLDEN)[1])
def test_outputs_are_those_of_the_official_code(
    found: dict[str, torch.Tensor], output: str
) -> None:
    expected = load_golden(GOLDEN)[1][output]
    limit = OF_RANGE * float(np.ptp(expected))
    np.testing.assert_allclose(found[output].numpy(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (3, 7, 5, 4)])
def test_the_up_convolution_is_repetition_then_convolution_then_blur(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(1)
    layer, x = UpConvolution(shape[1], 6, 64), torch.randn(shape)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    kernel = layer.weight * np.sqrt(2 / (9 * shape[1]))
    taps = torch.tensor([1.0, 2, 1])
    blur = (torch.outer(taps, taps) / 16).expand(6, 1, 3, 3)
    expected = F.conv2d(F.conv2d(repeated, kernel, padding=1), blur, padding=1, groups=6)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_lernapparats_file_is_the_same_network_with_an_estimated_mean(
    tmp_path: Path, tiny_pth: Path, generator: Generator
) -> None:
    ours, theirs = (
        read_stylegan1(tiny_pth),
        read_stylegan1(saved(lernapparat(tiny_tensors()), tmp_path)),
    )
    assert (ours.format, theirs.format) == ("ivrl-pth", "lernapparat-pt")
    assert ours.sha256 != theirs.sha256
    assert set(ours.tensors) - set(theirs.tensors) == {"truncation.avg_latent"}
    for name, value in theirs.tensors.items():
        np.testing.assert_array_equal(value, ours.tensors[name])
    net = generator_from_checkpoint(theirs)
    z = torch.from_numpy(np.random.RandomState(42).randn(10_000, Z).astype(np.float32))
    torch.testing.assert_close(net.truncation.avg_latent, generator.g_mapping(z).mean(0))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_graphs_compute_what_the_network_does(
    bundle: Bundle, generator: Generator, rng: np.random.Generator, backend: str, batch: int
) -> None:
    z = rng.standard_normal((batch, Z)).astype(np.float32)
    psi = np.linspace(0, 1, 12).astype(np.float32)
    factor = np.array([0.5], np.float32)
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        mapped = engine.run("mapping", z=z, psi=psi)
        styles = engine.run("styles", ws=mapped["ws"])["styles"]
        image = engine.run("synthesis", ws=mapped["ws"], noise=factor)["image"]
        rendered = engine.run("render", ws=mapped["ws"])
        again = engine.run("render_styles", styles=styles)
    w = generator.g_mapping(torch.from_numpy(z))
    ws = generator.truncation(w, torch.from_numpy(psi))
    close(mapped["w"], w)
    close(mapped["ws"], ws)
    close(styles, generator.g_style(ws))
    close(image, generator(ws, 0.5))
    levels = (generator(ws).permute(0, 2, 3, 1) * 127.5 + 127.5).clamp(0, 255)
    for outputs in (rendered, again):
        assert outputs["picture"].dtype == np.uint8
        assert np.abs(outputs["picture"] - levels.numpy()).max() < 0.52
        close(outputs["energy"], generator(ws).square().mean((1, 2, 3)))


def close(found: F32, expected: torch.Tensor) -> None:
    limit = OF_RANGE * max(1e-3, float(np.ptp(expected.numpy())))
    np.testing.assert_allclose(found, expected.numpy(), rtol=OF_RANGE, atol=limit)


def test_mix_takes_each_layer_from_its_code(bundle: Bundle, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 1, 12, W)).astype(np.float32)
    weight = np.linspace(-0.5, 1.5, 12).astype(np.float32)
    with mien_engines.open(bundle, "ort") as engine:
        mixed = engine.run("mix", ws_a=a, ws_b=b, weight=weight)
        np.testing.assert_allclose(mixed["ws"], b + weight[:, None] * (a - b), rtol=1e-5, atol=1e-5)
        rendered = engine.run("render", ws=mixed["ws"])["picture"]
    np.testing.assert_array_equal(mixed["picture"], rendered)


def test_a_layers_styles_lie_where_style_channels_says(
    bundle: Bundle, generator: Generator, rng: np.random.Generator
) -> None:
    """A local edit of one layer changes the part of `styles` that is that layer's, and no other."""
    channels = bundle.spec.properties["style_channels"]
    assert channels == [width for width in WIDTHS for _ in (0, 1)]
    ends = np.cumsum(channels)
    ws = rng.standard_normal((1, 12, W)).astype(np.float32)
    other = ws.copy()
    other[:, 5] += 1
    with mien_engines.open(bundle, "ort") as engine:
        before, after = (engine.run("styles", ws=x)["styles"] for x in (ws, other))
    changed = np.flatnonzero((before != after).any((0, 1)))
    assert (changed.min(), changed.max()) == (ends[4], ends[5] - 1)


def test_the_bundle_says_what_run_time_must_know(bundle: Bundle) -> None:
    assert set(bundle.spec.graphs) == GRAPHS
    assert bundle.spec.properties["resolution"] == 128
    assert bundle.spec.properties["num_ws"] == 12
    assert bundle.spec.source.format == "ivrl-pth"


@BOTH
@pytest.mark.parametrize("graph", sorted(GRAPHS))
def test_tensorrt_parses_and_builds_without_a_gpu(
    bundle: Bundle, graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(bundle.graph_path(graph), largest_batch=3)


def without_a_bias(tensors: Tensors) -> None:
    del tensors["g_synthesis.blocks.8x8.conv0_up.bias"]


def another_shape(tensors: Tensors) -> None:
    tensors["g_style.style_layers.8x8_1.lin.bias"] = torch.zeros(3)


def one_more(tensors: Tensors) -> None:
    tensors["g_synthesis.blocks.8x8.conv2.weight"] = torch.zeros(3)


def one_block_too_many(tensors: Tensors) -> None:
    tensors["g_synthesis.blocks.2048x2048.conv1.weight"] = torch.zeros(1, 1, 3, 3)


def another_filter(tensors: Tensors) -> None:
    tensors["g_synthesis.blocks.8x8.conv0_up.intermediate.kernel"] = torch.ones(1, 1, 3, 3) / 9


def another_network(tensors: Tensors) -> None:
    for name in list(tensors):
        tensors[name.replace("g_synthesis", "synthesis")] = tensors.pop(name)


def no_mapping(tensors: Tensors) -> None:
    del tensors["g_mapping.dense0.weight"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without_a_bias, r"lacks 1 of .* a StyleGAN1: g_synthesis\.blocks\.8x8\.conv0_up\.bias"),
        (another_shape, r"8x8_1\.lin\.bias has shape \(3,\), expected \(24,\)"),
        (one_more, r"no place for, 1 in all: g_synthesis\.blocks\.8x8\.conv2"),
        (one_block_too_many, r"no place for, 1 in all: g_synthesis\.blocks\.2048x2048"),
        (another_filter, r"not the filter \[1, 2, 1\]"),
        (another_network, r"is no StyleGAN1; it holds .* family stylegan2"),
        (no_mapping, r"no g_mapping\.dense0\.weight, which a StyleGAN1 has"),
    ],
)
def test_other_networks_leave_one_error_and_no_bundle(
    tmp_path: Path, change: Callable[[Tensors], None], text: str
) -> None:
    tensors = tiny_tensors()
    change(tensors)
    path = saved(tensors, tmp_path)
    with pytest.raises(ArchMismatch, match=text) as caught:
        export("stylegan1", path, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_of_no_use_is_refused(tiny_pth: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no use for --vgg"):
        export("stylegan1", tiny_pth, tmp_path / "bundle", Extras(vgg=tiny_pth))


def test_stylegan2_names_the_family_for_it(tiny_pth: Path) -> None:
    with pytest.raises(ArchMismatch, match=r"StyleGAN1.*mien export stylegan1"):
        read_stylegan2(tiny_pth)
