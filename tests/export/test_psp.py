"""Encoders of pSp and e4e: the exported graph against a formula of our own, and what is refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.export.rtx import BOTH
from tests.golden import seeded
from torch import Tensor

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError, NonFiniteWeights
from mien_export.checkpoints.psp import read_psp
from mien_export.content import Extras
from mien_export.export import export
from mien_export.families.encoder import Invert
from mien_export.nets.ir_se import TrunkConfig
from mien_export.nets.psp import Psp, PspConfig, psp_from_tensors

F32 = NDArray[np.float32]
Tensors = dict[str, Tensor]

OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range
TYPES = {"psp": "GradualStyleEncoder", "e4e": "Encoder4Editing"}
TRUNK = TrunkConfig(8, ((8, 1), (10, 1), (12, 2), (14, 1)), (2, 2, 3, 3))
TINY = PspConfig(TRUNK, layers=10, w_dim=24, width=14, halvings=1)  # 32 px, for 64 px
FULL = PspConfig(
    TrunkConfig(64, ((64, 3), (128, 4), (256, 14), (512, 3)), (4, 8, 16, 32)),
    layers=18,
    w_dim=512,
    width=512,
    halvings=4,
)


def drawn(config: PspConfig) -> Tensors:
    """The tensors of an encoder as its file names them, seeded."""
    with torch.device("meta"):
        shapes = {k: tuple(x.shape) for k, x in Psp(config).state_dict().items()}
    found = {}
    for key, shape in shapes.items():
        plain = "unit" if ".linear." in key else "he*0.6"  # equalised layers are stored as N(0, 1)
        found[f"encoder.{key}"] = torch.from_numpy(np.array(seeded.tensor(key, shape, plain)))
    return found


def checkpoint(network: str = "e4e", config: PspConfig = TINY) -> dict[str, Any]:
    """A file's content: the encoder, something of its generator, the mean code, the options."""
    state = drawn(config)
    average = state.pop("encoder.latent_avg")
    state["encoder.input_layer.1.num_batches_tracked"] = torch.tensor(3)
    state["decoder.style.1.weight"] = torch.full((2, 2), torch.nan)
    opts = {"encoder_type": TYPES[network], "output_size": config.resolution, "device": "cuda:0"}
    return {"state_dict": state, "latent_avg": average, "opts": opts}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def bn(t: Tensors, at: str, x: Tensor) -> Tensor:
    mean, variance = t[f"{at}.running_mean"], t[f"{at}.running_var"]
    return F.batch_norm(x, mean, variance, t[f"{at}.weight"], t[f"{at}.bias"], eps=1e-5)


def trunk(t: Tensors, x: Tensor) -> list[Tensor]:
    """The maps before every halving, and the last."""
    x = F.conv2d(x, t["input_layer.0.weight"], padding=1)
    x, maps = F.prelu(bn(t, "input_layer.1", x), t["input_layer.2.weight"]), []
    for i in range(sum(k.endswith("res_layer.3.weight") for k in t)):
        res, short = f"body.{i}.res_layer", f"body.{i}.shortcut_layer"
        cut = f"{short}.0.weight" in t
        stride = 2 if i == 0 or cut else 1
        if cut:
            maps.append(x)
        y = F.conv2d(bn(t, f"{res}.0", x), t[f"{res}.1.weight"], padding=1)
        y = F.conv2d(F.prelu(y, t[f"{res}.2.weight"]), t[f"{res}.3.weight"], None, stride, 1)
        y = bn(t, f"{res}.4", y)
        gate = F.conv2d(F.adaptive_avg_pool2d(y, 1), t[f"{res}.5.fc1.weight"]).relu()
        y = y * F.conv2d(gate, t[f"{res}.5.fc2.weight"]).sigmoid()
        if cut:
            x = bn(t, f"{short}.1", F.conv2d(x, t[f"{short}.0.weight"], stride=2)) + y
        else:
            x = F.max_pool2d(x, 1, stride) + y
    return [*maps, x]


def head(t: Tensors, at: str, x: Tensor) -> Tensor:
    for i in range(0, 12, 2):
        if f"{at}.convs.{i}.weight" in t:
            weight, bias = t[f"{at}.convs.{i}.weight"], t[f"{at}.convs.{i}.bias"]
            x = F.leaky_relu(F.conv2d(x, weight, bias, 2, 1), 0.01)
    weight = t[f"{at}.linear.weight"]
    return F.linear(x[:, :, 0, 0], weight / weight.shape[1] ** 0.5, t[f"{at}.linear.bias"])


def larger(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def codes(t: Tensors, network: str, image: Tensor) -> Tensor:
    """The papers' forward pass, level by level."""
    *_, c1, c2, c3 = trunk(t, image)
    p2 = larger(c3, c2) + F.conv2d(c2, t["latlayer1.weight"], t["latlayer1.bias"])
    p1 = larger(p2, c1) + F.conv2d(c1, t["latlayer2.weight"], t["latlayer2.bias"])
    count = t["latent_avg"].shape[0]
    each = [head(t, f"styles.{i}", c3 if i < 3 else p2 if i < 7 else p1) for i in range(count)]
    if network == "e4e":
        each = [each[0], *(each[0] + delta for delta in each[1:])]
    return torch.stack(each, 1) + t["latent_avg"]


def formula(network: str, pictures: NDArray[np.uint8], config: PspConfig) -> F32:
    tensors = {k.removeprefix("encoder."): x.double() for k, x in drawn(config).items()}
    image = torch.from_numpy(pictures).double().permute(0, 3, 1, 2) / 127.5 - 1
    image = F.interpolate(image, size=(config.size, config.size), mode="area")
    expected: F32 = codes(tensors, network, image).numpy()
    return expected


def close(found: F32, expected: F32) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=OF_RANGE * float(np.ptp(expected)))


def pictures(rng: np.random.Generator, batch: int, size: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (batch, size, size, 3), np.uint8)


@pytest.fixture(scope="module", params=TYPES)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(network: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("encoders")
    path = saved(checkpoint(network), folder / "encoder.pt")
    export("encoder", path, folder / "bundle")
    return Bundle.open(folder / "bundle")


def test_sizes_are_read_from_the_tensors(bundle: Bundle, network: str) -> None:
    properties = {"resolution": 64, "num_ws": 10, "w_dim": 24, "network": network}
    assert bundle.spec.properties == properties


@pytest.mark.parametrize("batch", [1, 3])
def test_codes_are_those_of_the_formula(
    bundle: Bundle, network: str, batch: int, rng: np.random.Generator
) -> None:
    given = pictures(rng, batch, 64)
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("invert", picture=given)["ws"]
    close(found, formula(network, given, TINY))


def test_openvino_agrees(bundle: Bundle, network: str, rng: np.random.Generator) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    given = pictures(rng, 3, 64)
    with mien_engines.open(bundle, "ov") as engine:
        close(engine.run("invert", picture=given)["ws"], formula(network, given, TINY))


@pytest.mark.parametrize(("layers", "size"), [(6, 16), (8, 32), (14, 256)])
def test_pictures_of_other_generators_are_resized(
    network: str, layers: int, size: int, rng: np.random.Generator
) -> None:
    config = PspConfig(TRUNK, layers=layers, w_dim=24, width=14, halvings=1)
    tensors = {k.removeprefix("encoder."): x.numpy() for k, x in drawn(config).items()}
    given = pictures(rng, 2, size)
    found = Invert(psp_from_tensors(tensors, network))(torch.from_numpy(given)).numpy()
    close(found, formula(network, given, config))


def test_the_two_read_the_same_tensors_differently(rng: np.random.Generator) -> None:
    given = pictures(rng, 1, 64)
    psp, e4e = (formula(network, given, TINY) for network in ("psp", "e4e"))
    np.testing.assert_allclose(psp[:, 0], e4e[:, 0])
    assert np.abs(psp[:, 1:] - e4e[:, 1:]).max() > 0.1


@BOTH
def test_tensorrt_parses_and_builds_without_a_gpu(
    bundle: Bundle, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(bundle.graph_path("invert"))


@pytest.mark.parametrize("shape", [(24,), (1, 24)])
def test_one_mean_w_serves_all_layers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = checkpoint()
    content["latent_avg"] = torch.arange(24.0).reshape(shape)
    read = read_psp(saved(content, tmp_path / "e.pt"))
    np.testing.assert_array_equal(read.tensors["latent_avg"], [np.arange(24.0)] * 10)


def test_the_generator_beside_it_is_not_read(tmp_path: Path) -> None:
    read = read_psp(saved(checkpoint(), tmp_path / "e.pt"))  # its generator holds NaN
    assert not any("decoder" in name or "tracked" in name for name in read.tensors)


def options(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda c: c | {"opts": value}


def state(**changes: Tensor | None) -> Callable[[dict[str, Any]], Any]:
    """Replace, or leave out, tensors of the encoder."""

    def change(content: dict[str, Any]) -> dict[str, Any]:
        tensors = content["state_dict"]
        for key, value in changes.items():
            name = f"encoder.{key.replace('__', '.')}"
            tensors.pop(name, None)
            tensors |= {} if value is None else {name: value}
        return content

    return change


def less(part: str) -> Callable[[dict[str, Any]], Any]:
    return lambda c: (
        c | {"state_dict": {k: v for k, v in c["state_dict"].items() if not k.startswith(part)}}
    )


REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no options": (lambda c: {k: c[k] for k in c if k != "opts"}, "whether it is pSp or e4e"),
    "options that say nothing": (options({"lr": 1e-4}), "'Encoder4Editing'} for e4e"),
    "options of a kind that is not read": (
        options(argparse.Namespace(encoder_type="Encoder4Editing")), "opts has no encoder_type",
    ),
    "another encoder": (
        options({"encoder_type": "BackboneEncoderUsingLastLayerIntoW"}), "of type BackboneEncoder",
    ),
    "codes that start from nothing": (
        options({"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": False}),
        "start_from_latent_avg is False",
    ),
    "no mean": (lambda c: {k: c[k] for k in c if k != "latent_avg"}, "has no latent_avg"),
    "a mean of other layers": (
        lambda c: c | {"latent_avg": torch.zeros(18, 24)}, r"latent_avg has shape \(18, 24\)",
    ),
    "a mean of no shape": (lambda c: c | {"latent_avg": torch.zeros(())}, "latent_avg of shape"),
    "no encoder": (less("encoder."), r"no tensor named encoder\."),
    "no trunk": (less("encoder.body"), r"no body\.0\.res_layer\.1\.weight"),
    "no heads": (less("encoder.styles."), r"no styles\.0\.convs\.0\.weight"),
    "a lost head": (less("encoder.styles.9."), "9 heads"),
    "a lost tensor": (state(latlayer1__bias=None), r"lacks 1 of .* latlayer1\.bias"),
    "an ill-shaped one": (
        state(styles__4__linear__bias=torch.zeros(7)), r"styles\.4\.linear\.bias has shape \(7",
    ),
    "too many": (state(extra__weight=torch.zeros(2)), r"no place for.* extra\.weight"),
    "a flat state dict": (lambda c: c["state_dict"], "no checkpoint of pSp or e4e"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_not_such_a_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    change, text = REFUSALS[case]
    path = saved(change(checkpoint()), tmp_path / "e.pt")
    with pytest.raises(ArchMismatch, match=text) as caught:
        export("encoder", path, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_a_head_for_enormous_pictures_is_refused() -> None:
    tensors = {k.removeprefix("encoder."): x.numpy() for k, x in drawn(TINY).items()}
    tensors |= {f"styles.0.convs.{2 * i}.weight": np.zeros((14, 14, 3, 3), "f4") for i in range(9)}
    with pytest.raises(ArchMismatch, match="1024 px at most"):
        psp_from_tensors(tensors, "psp")


def test_nan_in_the_encoder_is_refused(tmp_path: Path) -> None:
    content = state(latlayer2__bias=torch.full((14,), torch.nan))(checkpoint())
    with pytest.raises(NonFiniteWeights, match=r"latlayer2\.bias"):
        read_psp(saved(content, tmp_path / "e.pt"))


def test_a_file_of_no_use_is_refused(tmp_path: Path) -> None:
    path = saved(checkpoint(), tmp_path / "e.pt")
    with pytest.raises(InputError, match="no use for --lpips"):
        export("encoder", path, tmp_path / "bundle", Extras(lpips=path))


@pytest.mark.slow
def test_an_encoder_of_full_size_computes_what_the_formula_says(rng: np.random.Generator) -> None:
    # 267 million weights, 1 GB; the layout is that of the published e4e for 1024 px.
    tensors = {k.removeprefix("encoder."): x.numpy() for k, x in drawn(FULL).items()}
    encoder = psp_from_tensors(tensors, "e4e")
    assert (encoder.size, encoder.resolution) == (256, 1024)
    given = pictures(rng, 1, 1024)
    found = Invert(encoder)(torch.from_numpy(given)).numpy()
    image = torch.from_numpy(given).float().permute(0, 3, 1, 2) / 127.5 - 1
    image = F.avg_pool2d(image, 4)
    expected = codes({k: torch.from_numpy(x) for k, x in tensors.items()}, "e4e", image).numpy()
    close(found, expected)
