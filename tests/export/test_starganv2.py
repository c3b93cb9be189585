"""StarGAN v2 and FAN: clovaai's outputs, the bundle's graphs, and the files that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import BOTH
from tests.export.tiny_starganv2 import (
    DOMAINS,
    GRAPHS,
    LATENT,
    PLAIN,
    SKIP,
    STYLE,
    drawn,
    laplacian,
    tiny_checkpoint,
)
from tests.golden import load_golden, seeded
from torch import Tensor, nn

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError, MienError, NonFiniteWeights
from mien_export.checkpoints import read_starganv2
from mien_export.content import Extras
from mien_export.families.starganv2 import content, networks_from_checkpoint
from mien_export.nets.fan import Fan, fan_from_tensors, landmarks_from_heatmaps, masks_from_heatmaps
from mien_export.nets.starganv2_styles import StyleEncoder, of_domain
from mien_export.to_onnx import onnx_from_module

Checkpoint = dict[str, Any]

OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range
GOLDEN = ("starganv2-128", "starganv2-128-hpf")
EVERY = [(name, graph) for name, graphs in GRAPHS.items() for graph in graphs]


def golden_checkpoint(name: str) -> Checkpoint:
    spec, _ = load_golden(name)
    checkpoint = {
        network: {
            key: torch.from_numpy(np.array(seeded.tensor(f"{network}.{key}", tuple(shape), "he")))
            for key, shape in shapes.items()
        }
        for network, shapes in spec["tensors"].items()
    }
    if spec["config"]["w_hpf"]:  # a constant: it is listed, but the official code draws it not
        checkpoint["generator"]["hpf.filter"] = laplacian(spec["config"]["w_hpf"])
    return checkpoint


def golden_fan() -> dict[str, Tensor]:
    spec, _ = load_golden("starganv2-fan")
    return {
        key: torch.from_numpy(np.array(seeded.tensor(key, tuple(shape), spec["init"])))
        for key, shape in spec["tensors"].items()
    }


class Networks(nn.Module):
    """All of a checkpoint, from images: the two styles, and the two pictures in them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.generator, self.mapping, self.encoder = networks_from_checkpoint(read_starganv2(path))

    def forward(
        self, x: Tensor, ref: Tensor, z: Tensor, y: Tensor, *masks: Tensor
    ) -> tuple[Tensor, ...]:
        reference = of_domain(self.encoder(ref), y)
        latent = of_domain(self.mapping(z), y)
        both = torch.cat([reference, latent])
        twice = [torch.cat([mask, mask]) for mask in masks]
        images = self.generator(torch.cat([x, x]), both, twice)
        return reference, latent, *images.chunk(2)


class Face(nn.Module):
    """All of FAN: heat maps and landmarks of an image, the two masks of given maps."""

    def __init__(self, fan: Fan) -> None:
        super().__init__()
        self.fan = fan

    def forward(self, image: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
        found = self.fan(image)
        return found[:, ::7], landmarks_from_heatmaps(found, 256), *masks_from_heatmaps(maps)


Run = Callable[[nn.Module, dict[str, Tensor], list[str]], list[np.ndarray]]


def run_torch(module: nn.Module, inputs: dict[str, Tensor], _: list[str]) -> list[np.ndarray]:
    """Run module as it is."""
    return [x.numpy() for x in module(*inputs.values())]


def run_onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> list[np.ndarray]:
    """Run module as an ONNX graph, exported with a batch of 2 whatever that of the inputs."""
    examples = [torch.cat([x, x])[:2] for x in inputs.values()]
    shapes = [("N", *x.shape[1:]) for x in inputs.values()]
    model = onnx_from_module(module.eval(), examples, list(inputs), outputs, shapes)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: list[np.ndarray] = session.run(None, {k: x.numpy() for k, x in inputs.items()})
    return found


RUNS = [run_torch, pytest.param(run_onnx, marks=pytest.mark.slow)]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_are_those_of_the_official_code(tmp_path: Path, name: str, run: Run) -> None:
    torch.save(golden_checkpoint(name), tmp_path / "nets_ema.ckpt")
    image, mask = (2, 3, 128, 128), (2, 1, 128, 128)
    inputs = {
        "x": torch.from_numpy(seeded.draw(f"{name}/x", image)).clip(-1, 1),
        "ref": torch.from_numpy(seeded.draw(f"{name}/ref", image)).clip(-1, 1),
        "z": torch.from_numpy(seeded.draw(f"{name}/z", (2, 16))),
        "y": torch.tensor([0, 1]),
    }
    if name.endswith("hpf"):
        for key in ("mask0", "mask1"):
            inputs[key] = torch.from_numpy(seeded.draw(f"{name}/{key}", mask) > 0).float()
    names = ["style_reference", "style_latent", "image_reference", "image_latent"]
    found = run(Networks(tmp_path / "nets_ema.ckpt"), inputs, names)
    _, expected = load_golden(name)
    assert set(names) == set(expected)
    for key, value in zip(names, found, strict=True):
        limit = OF_RANGE * float(np.ptp(expected[key]))
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=limit, err_msg=key)


def gaussians() -> Tensor:
    """The heat maps of the golden masks: channel i has its peak at its own place."""
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    channels = [(40 + 1.8 * i, 30 + 2 * (37 * i % 98)) for i in range(98)]
    return torch.stack([torch.exp(-((y - a) ** 2 + (x - b) ** 2) / 50) for a, b in channels])[None]


@pytest.mark.parametrize("run", RUNS)
def test_fan_finds_what_the_official_code_finds(tmp_path: Path, run: Run) -> None:
    torch.save({"state_dict": golden_fan()}, tmp_path / "wing.ckpt")
    fan = fan_from_tensors(read_starganv2(tmp_path / "wing.ckpt").networks["fan"])
    image = torch.from_numpy(seeded.draw("starganv2-fan/x", (1, 3, 256, 256))).clip(-1, 1)
    names = ["heatmaps", "landmarks", "mask_all", "mask_part"]
    found = run(Face(fan), {"image": image, "maps": gaussians()}, names)
    _, expected = load_golden("starganv2-fan")
    assert set(names) == set(expected)
    for key, value in zip(names, found, strict=True):
        limit = OF_RANGE * float(np.ptp(expected[key]))
        wanted = expected[key].reshape(value.shape)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=limit, err_msg=key)


def feeds(bundle: Bundle, graph: str, batch: int, rng: np.random.Generator) -> dict[str, Any]:
    size = bundle.spec.properties["resolution"]
    assert isinstance(size, int)
    blobs = torch.from_numpy(rng.uniform(0, 255, (batch, 3, 9, 9)).astype(np.float32))
    picture = F.interpolate(blobs, (size, size), mode="bicubic").clip(0, 255).byte()
    picture = picture.permute(0, 2, 3, 1).contiguous()
    masks = rng.uniform(0, 1, (2, batch, 1, size, size)).astype(np.float32)
    drawn = {
        "picture": picture.numpy(),
        "reference": picture.flip(1).numpy(),
        "domain": rng.integers(0, DOMAINS, batch),
        "z": rng.standard_normal((batch, LATENT)).astype(np.float32),
        "style": rng.standard_normal((batch, STYLE)).astype(np.float32),
        "mask_0": masks[0],
        "mask_1": masks[1],
    }
    return {tensor.name: drawn[tensor.name] for tensor in bundle.graph(graph).inputs}


def agree(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close = 1 if value.dtype == np.uint8 else 1e-4 * max(1.0, float(np.ptp(value)))
        difference = found[name].astype(np.float64) - value
        np.testing.assert_allclose(difference, 0, rtol=0, atol=close, err_msg=name)


@pytest.mark.parametrize(("name", "graph"), EVERY)
def test_a_batch_of_three_is_three_of_one(
    star_bundles: dict[str, Bundle], rng: np.random.Generator, name: str, graph: str
) -> None:
    inputs = feeds(star_bundles[name], graph, 3, rng)
    with mien_engines.open(star_bundles[name], "ort") as engine:
        together = engine.run(graph, **inputs)
        for i in range(3):
            alone = engine.run(graph, **{key: x[i : i + 1] for key, x in inputs.items()})
            agree({key: x[i : i + 1] for key, x in together.items()}, alone)


@pytest.mark.parametrize(("name", "graph"), EVERY)
def test_openvino_agrees(
    star_bundles: dict[str, Bundle], rng: np.random.Generator, name: str, graph: str
) -> None:
    inputs = feeds(star_bundles[name], graph, 1, rng)
    try:
        other = mien_engines.open(star_bundles[name], "ov")
    except MienError as error:
        pytest.skip(str(error))
    with other, mien_engines.open(star_bundles[name], "ort") as engine:
        agree(other.run(graph, **inputs), engine.run(graph, **inputs))


@BOTH
@pytest.mark.parametrize(("name", "graph"), EVERY)
def test_tensorrt_parses_and_builds_without_a_gpu(
    star_bundles: dict[str, Bundle], name: str, graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(star_bundles[name].graph_path(graph))


@pytest.mark.parametrize("name", GRAPHS)
def test_pictures_go_through_the_networks(
    star_bundles: dict[str, Bundle],
    star_files: dict[str, Path],
    rng: np.random.Generator,
    name: str,
) -> None:
    networks = Networks(star_files[name])
    with mien_engines.open(star_bundles[name], "ort") as engine:
        inputs = feeds(star_bundles[name], "translate", 3, rng)
        codes = feeds(star_bundles[name], "style_latent", 3, rng)
        image = torch.from_numpy(inputs["picture"]).permute(0, 3, 1, 2) / 127.5 - 1
        masks = [torch.from_numpy(inputs[key]) for key in ("mask_0", "mask_1") if key in inputs]
        z, domain = torch.from_numpy(codes["z"]), torch.from_numpy(codes["domain"])
        reference, latent, _, expected = networks(image, image, z, domain, *masks)
        found = engine.run("style_latent", **codes)["style"]
        np.testing.assert_allclose(found, latent, rtol=0, atol=1e-4)
        pair = {"picture": inputs["picture"], "domain": codes["domain"]}
        found = engine.run("style_reference", **pair)["style"]
        np.testing.assert_allclose(found, reference, rtol=0, atol=1e-4)
        result = engine.run("translate", **{**inputs, "style": latent.numpy()})
    levels = ((expected.clip(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(result["picture_next"], levels, rtol=0, atol=0.51)
    energy = expected.square().mean((1, 2, 3))
    np.testing.assert_allclose(result["energy"], energy, rtol=1e-4)


def test_masks_and_landmarks_are_those_of_the_picture_at_256_px(
    star_bundles: dict[str, Bundle], star_files: dict[str, Path], rng: np.random.Generator
) -> None:
    fan = fan_from_tensors(read_starganv2(star_files["skip"]).networks["fan"])
    inputs = feeds(star_bundles["skip"], "heatmaps", 1, rng)
    image = torch.from_numpy(inputs["picture"]).permute(0, 3, 1, 2) / 127.5 - 1
    maps = fan(F.interpolate(image, (256, 256), mode="bilinear"))
    large = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=True)
    masks = [F.interpolate(x, (64, 64), mode="bilinear") for x in masks_from_heatmaps(large)]
    assert all(mask.max() > 0.2 for mask in masks)
    with mien_engines.open(star_bundles["skip"], "ort") as engine:
        found = engine.run("heatmaps", **inputs)
        places = engine.run("landmarks", **inputs)["landmarks"]
    agree(found, {"mask_0": masks[0].numpy(), "mask_1": masks[1].numpy()})
    np.testing.assert_allclose(places, landmarks_from_heatmaps(maps, 64), rtol=0, atol=1e-4)


def test_a_landmark_lies_a_quarter_pixel_towards_the_higher_neighbour() -> None:
    maps = torch.zeros(2, 98, 64, 64)
    maps[:, :, 20, 30] = 1.0
    maps[:, 0, 20, 31], maps[:, 0, 19, 30] = 0.5, 0.5  # right, up
    maps[1, 1, 63, 5], maps[1, 1, 63, 6] = 2.0, 1.0  # on an edge nothing moves
    found = landmarks_from_heatmaps(maps, 256)
    assert found[0, 0].tolist() == [(30.5 + 0.25) * 4, (20.5 - 0.25) * 4]
    assert found[0, 1].tolist() == [30.5 * 4, 20.5 * 4]
    assert found[1, 1].tolist() == [5.5 * 4, 63.5 * 4]
    np.testing.assert_array_equal(landmarks_from_heatmaps(maps, 128), found / 2)


def test_a_broken_heat_map_is_seen_in_the_masks() -> None:
    maps = gaussians()
    maps[0, 54, 100, 100] = torch.nan
    assert all(mask.isnan().any() for mask in masks_from_heatmaps(maps))


def test_the_constants_and_properties_describe_the_networks(
    star_bundles: dict[str, Bundle], star_files: dict[str, Path]
) -> None:
    tensors = read_starganv2(star_files["plain"]).networks["mapping_network"]
    hidden = np.random.RandomState(42).randn(10_000, LATENT).astype(np.float32)
    for key in ("shared.0", "shared.2", "unshared.2.0"):
        hidden = np.maximum(hidden @ tensors[f"{key}.weight"].T + tensors[f"{key}.bias"], 0)
    styles = hidden @ tensors["unshared.2.2.weight"].T + tensors["unshared.2.2.bias"]
    mean = star_bundles["plain"].constants["style_mean"]
    assert mean.shape == (DOMAINS, STYLE)
    np.testing.assert_allclose(mean[2], styles.mean(0), rtol=0, atol=1e-4)
    sizes = {"style_dim": STYLE, "latent_dim": LATENT, "domains": DOMAINS}
    assert star_bundles["plain"].spec.properties == {"resolution": 32, "w_hpf": 0.0, **sizes}
    assert star_bundles["skip"].spec.properties == {"resolution": 64, "w_hpf": 1.0, **sizes}
    for name, graphs in GRAPHS.items():
        assert set(star_bundles[name].spec.graphs) == set(graphs)
        assert star_bundles[name].graph("translate").frequent


def test_an_older_file_without_the_filter_has_that_of_w_hpf_1(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(SKIP)
    del checkpoint["generator"]["hpf.filter"], checkpoint["fan"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    old = content(tmp_path / "old.ckpt", Extras())
    assert [graph.name for graph in old.graphs] == list(GRAPHS["plain"][:3])
    assert len(old.notes) == 2
    assert "high-pass" in old.notes[0]
    assert "masks" in old.notes[1]
    assert old.properties["w_hpf"] == 1
    checkpoint["generator"]["hpf.filter"] = laplacian(2)
    torch.save(checkpoint, tmp_path / "new.ckpt")
    assert content(tmp_path / "new.ckpt", Extras()).properties["w_hpf"] == 2


def test_domains_take_the_names_that_are_given(star_files: dict[str, Path]) -> None:
    named = content(star_files["plain"], Extras(domains="cat, dog,wild"))
    assert named.properties["domain_names"] == ["cat", "dog", "wild"]
    for names in ("cat,dog", "cat,dog,dog", "cat,,dog", "a,b,c,d"):
        with pytest.raises(InputError, match="no 3 different names"):
            content(star_files["plain"], Extras(domains=names))


def test_the_landmark_network_alone_is_a_bundle_of_its_own(tmp_path: Path) -> None:
    state = tiny_checkpoint(SKIP)["fan"]
    further = {"m1.coordconv.conv.bias": torch.zeros(4), "l1.bias": torch.zeros(99)}
    counter = {"bn1.num_batches_tracked": torch.tensor(7)}
    torch.save({"state_dict": {**state, **further, **counter}}, tmp_path / "wing.ckpt")
    found = content(tmp_path / "wing.ckpt", Extras())
    assert [graph.name for graph in found.graphs] == ["heatmaps", "landmarks"]
    assert found.format == "clovaai-wing"
    assert found.properties == {"resolution": 256}
    with pytest.raises(InputError, match="no use for --domains"):
        content(tmp_path / "wing.ckpt", Extras(domains="a,b"))


def without(network: str, key: str) -> Callable[[Checkpoint], None]:
    return lambda checkpoint: checkpoint[network].pop(key)


def replaced(network: str, key: str, *shape: int) -> Callable[[Checkpoint], None]:
    return lambda checkpoint: checkpoint[network].update({key: torch.ones(shape)})


def shallower(checkpoint: Checkpoint) -> None:
    encoder = checkpoint["style_encoder"]
    checkpoint["style_encoder"] = {k: x for k, x in encoder.items() if "shared.3" not in k}


def fewer_domains(checkpoint: Checkpoint) -> None:
    mapping = checkpoint["mapping_network"]
    checkpoint["mapping_network"] = {k: x for k, x in mapping.items() if "unshared.2" not in k}


def another_encoder(checkpoint: Checkpoint) -> None:
    checkpoint["style_encoder"] = drawn(StyleEncoder([6, 8, 8, 8, 8], STYLE + 1, DOMAINS))


DAMAGE: dict[str, tuple[Callable[[Checkpoint], Any], str]] = {
    "no generator": (lambda c: c.pop("generator"), "has no generator; it holds mapping_network"),
    "a discriminator": (lambda c: c.update(discriminator={}), "nets_ema.ckpt"),
    "missing in the generator": (without("generator", "encode.1.norm2.bias"), "encode.1.norm2"),
    "missing width": (without("generator", "encode.1.conv2.weight"), "encode.1.conv2.weight"),
    "missing in the mapping": (without("mapping_network", "shared.2.weight"), "shared.2.weight"),
    "missing head": (without("style_encoder", "unshared.1.bias"), "unshared.1.bias"),
    "missing in FAN": (without("fan", "m0.b2_plus_1.bn1.bias"), "m0.b2_plus_1.bn1.bias"),
    "wrong shape": (replaced("generator", "to_rgb.2.weight", 4, 6, 1, 1), "to_rgb.2.weight"),
    "wrong rank": (replaced("generator", "from_rgb.weight", 6), "from_rgb.weight has shape"),
    "another style": (
        replaced("generator", "decode.0.norm1.fc.weight", 20, 9),
        r"expected \(20, 9\)",
    ),
    "68 landmarks": (replaced("fan", "l0.weight", 69, 16, 1, 1), "l0.weight"),
    "unknown": (replaced("generator", "attention.weight", 2, 2), "attention.weight"),
    "another filter": (replaced("generator", "hpf.filter", 3, 3), "Laplacian"),
    "fewer domains": (fewer_domains, "2 domains, and the style encoder 3"),
    "longer styles": (another_encoder, "styles of 10 and 11 numbers"),
    "another depth": (shallower, "5 blocks and the style encoder 2"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_does_not_fit_is_named(tmp_path: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    checkpoint = tiny_checkpoint(SKIP)
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(ArchMismatch, match=message):
        content(tmp_path / "x.ckpt", Extras())


def test_a_filter_without_the_skip_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(PLAIN)
    checkpoint["generator"]["hpf.filter"] = laplacian()
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(ArchMismatch, match="a high-pass filter and 3 blocks, expected 4"):
        content(tmp_path / "x.ckpt", Extras())


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"g_ema": {"style.1.weight": torch.ones(2, 2)}}, "has no generator; it holds g_ema"),
        ({"state_dict": {"conv1.weight": torch.ones(2)}}, "has no generator; it holds state_dict"),
        ([torch.ones(2)], "has no generator; it holds a list"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path: Path, found: Any, message: str) -> None:
    torch.save(found, tmp_path / "x.ckpt")
    with pytest.raises(ArchMismatch, match=message):
        read_starganv2(tmp_path / "x.ckpt")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(PLAIN)
    checkpoint["style_encoder"]["shared.0.bias"][0] = torch.inf
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(NonFiniteWeights, match=r"shared\.0\.bias"):
        read_starganv2(tmp_path / "x.ckpt")


def test_extras_of_other_families_are_refused(star_files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="no use for --vgg"):
        content(star_files["plain"], Extras(vgg=Path("vgg16.pth")))
