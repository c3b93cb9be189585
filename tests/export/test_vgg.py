"""VGG in its three layouts, against networks put together from torch's own modules."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.export.rtx import assert_builds
from tests.golden import load_golden, seeded
from torch import Tensor, nn

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, CorruptFile, InputError, MienError
from mien_export.checkpoints import read_state_dict
from mien_export.checkpoints.archive import MAKERS
from mien_export.checkpoints.inert_pickle import Machine
from mien_export.checkpoints.vgg import read_vgg, vgg_from_tensors
from mien_export.content import Extras
from mien_export.export import export
from mien_export.families import vgg
from mien_export.families.vgg import AdainEncode, Features
from mien_export.nets.lpips import heads_from_tensors, vgg16_from_tensors
from mien_export.nets.pictures import from_uint8
from mien_export.nets.vgg import vgg_from_checkpoint
from mien_export.steps.terms import Perceptual
from mien_export.to_onnx import onnx_from_module
from zoo.metrics import squeeze_lpips

WIDTHS = (4, 6, 8, 10, 12)
STAGES = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, None, :, None, None]


def torchvision(stages: Sequence[int], widths: Sequence[int] = WIDTHS) -> nn.Sequential:
    """The layers under torchvision's numbers."""
    layers: list[nn.Module] = []
    c_in = 3
    for count, width in zip(stages, widths, strict=False):
        for _ in range(count):
            layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
            c_in = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def normalised(stages: Sequence[int]) -> nn.Sequential:
    """The layers under the numbers of the normalised VGG-19, cut behind its last ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    c_in = 3
    for stage, (count, width) in enumerate(zip(stages, WIDTHS, strict=False)):
        layers += [nn.MaxPool2d(2, 2)] if stage else []
        for _ in range(count):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(c_in, width, 3), nn.ReLU()]
            c_in = width
    return nn.Sequential(*layers)


def firsts(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The map behind the first ReLU of each stage."""
    maps, fresh = [], True
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.ReLU) and fresh:
            maps.append(x)
        fresh = isinstance(layer, nn.MaxPool2d) or (fresh and not isinstance(layer, nn.ReLU))
    return maps


def distilled(stages: Sequence[int]) -> dict[str, Tensor]:
    tensors = {"conv0.weight": torch.randn(3, 3, 1, 1), "conv0.bias": torch.randn(3)}
    c_in = 3
    for stage, (count, width) in enumerate(zip(stages, WIDTHS, strict=False), 1):
        for i in range(1, count + 1):
            tensors[f"conv{stage}{i}.weight"] = (
                torch.randn(width, c_in, 3, 3) * (2 / c_in) ** 0.5 / 3
            )
            tensors[f"conv{stage}{i}.bias"] = torch.randn(width) * 0.1
            c_in = width
        tensors[f"conv{stage}1_aux.weight"] = torch.randn(2 * width, width, 1, 1) * width**-0.5
        tensors[f"conv{stage}1_aux.bias"] = torch.randn(2 * width) * 0.1
    return tensors


def distilled_maps(tensors: dict[str, Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The lifted maps of x [N, 3, H, W] in [0, 1], and the last one as it is."""
    x = F.conv2d(x, tensors["conv0.weight"], tensors["conv0.bias"])
    lifted = []
    for name in sorted(n[4:6] for n in tensors if n.endswith("weight") and len(n) == 13):
        if name[1] == "1" and name != "11":
            x = F.max_pool2d(x, 2)
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.relu(F.conv2d(x, tensors[f"conv{name}.weight"], tensors[f"conv{name}.bias"]))
        if name[1] == "1":
            lift = (tensors[f"conv{name}_aux.{part}"] for part in ("weight", "bias"))
            lifted.append(F.relu(F.conv2d(x, *lift)))
            last = x
    return lifted, last


def distilled_layers(tensors: dict[str, Tensor]) -> Callable[[Tensor], list[Tensor]]:
    """What each convolution gives, of images in [-1, 1]."""
    names = [n[4:6] for n in tensors if n.endswith("weight") and len(n) == 13]

    def maps(image: Tensor) -> list[Tensor]:
        x, found = F.conv2d((image + 1) / 2, *_conv(tensors, "conv0")), []
        for name in sorted(names):
            if name[1] == "1" and name != "11":
                x = F.max_pool2d(x, 2)
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), *_conv(tensors, f"conv{name}"))
            found.append(x)
            x = F.relu(x)
        return found

    return maps


def _conv(tensors: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def pictures(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), np.uint8)


def unit(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 255


Sources = dict[str, tuple[Bundle, nn.Sequential | dict[str, Tensor]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """A bundle of each layout, with what it was made of."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("vgg")
    zeros, mirrored, thin = torchvision((2, 1)), normalised((2, 1)), distilled((1, 2, 1))
    whole = {f"features.{k}": v for k, v in zeros.state_dict().items()}
    files = {
        "torchvision": (whole | {"classifier.0.weight": torch.zeros(2, 2)}, zeros),
        "normalised": (mirrored.state_dict(), mirrored),
        "distilled": ({"model": thin, "epoch": 3}, thin),
    }
    with pytest.MonkeyPatch.context() as patch:
        # Those graphs take longer to export than all others; test_gatys has them.
        patch.setattr(vgg, "gatys_graphs", lambda net: [])
        for name, (content, _) in files.items():
            torch.save(content, folder / f"{name}.pth")
            export("vgg", folder / f"{name}.pth", folder / name)
    return {name: (Bundle.open(folder / name), source) for name, (_, source) in files.items()}


def expected_maps(kind: str, source: nn.Sequential | dict[str, Tensor], x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        if isinstance(source, dict):
            return distilled_maps(source, x)[0]
        return firsts(source, (x - IMAGENET[0]) / IMAGENET[1] if kind == "torchvision" else x)


KINDS = ("torchvision", "normalised", "distilled")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_feature_maps_are_those_of_torchs_modules_at_any_size(
    made: Sources, kind: str, backend: str
) -> None:
    bundle, source = made[kind]
    try:
        engine = mien_engines.open(bundle, backend)
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        for shape in ((1, 64, 64), (3, 33, 47)):
            picture = pictures(*shape)
            found = engine.run("features", picture=picture)
            expected = expected_maps(kind, source, unit(picture))
            assert list(found) == [f"relu{i}_1" for i in range(1, len(expected) + 1)]
            for value, wanted in zip(found.values(), expected, strict=True):
                limit = 1e-4 * float(wanted.max() - wanted.min())
                np.testing.assert_allclose(value, wanted.numpy(), rtol=0, atol=limit)


def test_adain_works_on_the_map_that_a_cut_file_ends_in(
    made: Sources,
) -> None:
    bundle, thin = made["distilled"]
    assert isinstance(thin, dict)
    picture = pictures(2, 40, 36)
    with torch.no_grad():
        _, last = distilled_maps(thin, unit(picture))
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("adain_encode", picture=picture)
    np.testing.assert_allclose(
        found["relu3_1"], last.numpy(), rtol=0, atol=1e-4 * float(last.max())
    )
    assert "adain_encode" not in made["torchvision"][0].spec.graphs


@pytest.mark.slow
def test_the_distance_of_pictures_is_lpips_of_their_images(tmp_path: Path) -> None:
    torch.manual_seed(4)
    sixteen = torchvision(STAGES["vgg16"])
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(WIDTHS)}
    torch.save(sixteen.state_dict(), tmp_path / "vgg16.pth")
    torch.save(heads, tmp_path / "heads.pth")
    export("vgg", tmp_path / "vgg16.pth", tmp_path / "b", Extras(lpips=tmp_path / "heads.pth"))
    a, b = pictures(3, 48, 33), pictures(3, 48, 33, seed=1)

    def maps(picture: np.ndarray) -> list[Tensor]:
        x, result = (unit(picture) - IMAGENET[0]) / IMAGENET[1], []
        for layer in sixteen:
            result += [x] if isinstance(layer, nn.MaxPool2d) else []
            x = layer(x)
        return result

    expected = torch.zeros(3)
    with torch.no_grad():
        for x, y, head in zip(maps(a), maps(b), heads.values(), strict=True):
            difference = F.normalize(x, eps=1e-10) - F.normalize(y, eps=1e-10)
            expected += F.conv2d(difference.square(), head).mean((1, 2, 3))
    with mien_engines.open(tmp_path / "b", "ort") as engine:
        found = engine.run("lpips", picture_a=a, picture_b=b)["distance"]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)
        assert not engine.run("lpips", picture_a=a, picture_b=a)["distance"].any()
    assert_builds(tmp_path / "b" / "lpips.onnx", side=32)


@pytest.mark.parametrize("kind", KINDS)
def test_tensorrt_parses_and_builds_without_a_gpu(made: Sources, kind: str) -> None:
    bundle = made[kind][0]
    for name in bundle.spec.graphs:
        assert_builds(bundle.graph_path(name), side=32)


class Distance(nn.Module):
    def __init__(self, term: Perceptual) -> None:
        super().__init__()
        self.term = term

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.term(self.term.features(a), self.term.features(b))


@pytest.mark.slow
def test_the_published_distance_survives_export() -> None:
    ort = pytest.importorskip("onnxruntime")
    spec, outputs = load_golden("lpips-vgg")
    tensors = {name: seeded.tensor(name, tuple(s), "he") for name, s in spec["tensors"].items()}
    for name in [n for n in tensors if n.startswith("lin")]:
        shape = tuple(spec["tensors"][name])
        tensors[name] = abs(seeded.draw(f"lpips/{name}", shape)) / shape[1]
    features = vgg16_from_tensors(tensors)
    module = Distance(Perceptual(features, heads_from_tensors(tensors, features.widths())))
    a, b = (seeded.draw(f"lpips-vgg/{n}", (2, 3, 64, 64)).clip(-1, 1) for n in "ab")
    model = onnx_from_module(module, [torch.from_numpy(a), torch.from_numpy(b)], ["a", "b"], ["d"])
    session = ort.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"a": a, "b": b})
    np.testing.assert_allclose(found, outputs["distance"].reshape(-1), rtol=1e-4)


def test_the_published_example_is_in_the_right_order(shared: Path) -> None:
    import cv2

    folder, images = shared / "data/weights/lpips", {}
    if not folder.is_dir():
        pytest.skip("the LPIPS heads are not on this machine")
    for name in ("ref", "p0", "p1"):
        picture = cv2.imread(str(shared / f"data/images/lpips/ex_{name}.png"))[None, :, :, ::-1]
        images[name] = from_uint8(torch.from_numpy(picture.copy()))
    thin, _ = read_vgg(shared / "data/weights/vgg19_16x/5SE.pth")
    net = vgg_from_checkpoint(thin)
    squeeze = squeeze_lpips(shared / "data")
    for term in (squeeze, Perceptual(lambda image: net.lifted(net(image)))):
        with torch.no_grad():
            maps = {name: term.features(image) for name, image in images.items()}
            far, near = (float(term(maps[name], maps["ref"])) for name in ("p0", "p1"))
        assert far > 1.2 * near


def test_the_published_heads_are_read(shared: Path) -> None:
    path = shared / "data/weights/lpips/vgg.pth"
    if not path.is_file():
        pytest.skip("the LPIPS heads are not on this machine")
    heads = heads_from_tensors(read_state_dict(path), (64, 128, 256, 512, 512))
    assert all(float(head.min()) >= 0 for head in heads)


def test_texts_of_python_2_are_read() -> None:
    pickled = b"\x80\x02}U\x01aT\x02\x00\x00\x00bcs."
    assert Machine({}, frozenset()).load(io.BytesIO(pickled)) == {"a": "bc"}


ORDERED = b"ccollections\nOrderedDict\n"


def test_a_dict_of_python_2_is_read_and_its_list_serves_once() -> None:
    def load(pickled: bytes) -> object:
        return Machine(MAKERS, frozenset()).load(io.BytesIO(b"\x80\x02" + pickled + b"."))

    pairs = b"](" + b"](U\x01aK\x01e" + b"](U\x01bK\x02ee"
    assert load(ORDERED + pairs + b"\x85R") == {"a": 1, "b": 2}
    again = ORDERED + pairs + b"q\x00\x85R" + ORDERED + b"h\x00\x85R\x86"
    assert load(again) == ({"a": 1, "b": 2}, {})
    for other in (b"](K\x01e", b"](](K\x01K\x02ee", b"}", b"](](U\x01aee"):
        with pytest.raises(CorruptFile, match="names and values"):
            load(ORDERED + other + b"\x85R")


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("family", ["vgg19_16x", "vgg19_normalised"])
def test_real_decoders_give_the_picture_back(shared: Path, family: str, level: int) -> None:
    import cv2

    folder = shared / "data/weights" / family
    if not folder.is_dir():
        pytest.skip("the real encoders are not on this machine")
    thin = family == "vgg19_16x"
    names = (f"{level}SE", f"{level}SD") if thin else (
        f"vgg_normalised_conv{level}_1", f"feature_invertor_conv{level}_1"
    )  # fmt: skip
    net = vgg_from_checkpoint(read_vgg(folder / f"{names[0]}.pth")[0])
    decoder = {
        name: torch.from_numpy(value)
        for name, value in read_state_dict(folder / f"{names[1]}.pth").items()
    }
    path = next((shared / "data/images/portraits512").glob("*"))
    picture = cv2.resize(cv2.imread(str(path)), (128, 128), interpolation=cv2.INTER_AREA)
    picture = np.ascontiguousarray(picture[None, :, :, ::-1])
    with torch.no_grad():
        x = AdainEncode(net, level)(torch.from_numpy(picture))
        layers = [name.removesuffix(".weight") for name in decoder if name.endswith("weight")]
        for i, name in enumerate(layers):
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.conv2d(x, decoder[f"{name}.weight"], decoder[f"{name}.bias"])
            x = F.relu(x) if i < len(layers) - 1 else x
            # A pooling stood before convS_1: what that layer gives is repeated. In the numbered
            # file the up-sampling takes a place of its own.
            doubled = name in ("conv21", "conv31") if thin else name in ("1", "12") and level > 1
            doubled = doubled and not (not thin and level == 2 and name == "12")
            x = F.interpolate(x, scale_factor=2, mode="nearest") if doubled else x
    error = (x.clamp(0, 1) - unit(picture)).square().mean()
    assert -10 * float(torch.log10(error)) > 26


@pytest.mark.parametrize("name", ["4SE", "5SE"])
def test_the_widths_of_a_lifted_network_are_those_of_vgg_19(shared: Path, name: str) -> None:
    path = shared / f"data/weights/vgg19_16x/{name}.pth"
    if not path.is_file():
        pytest.skip("the real encoders are not on this machine")
    net = vgg_from_checkpoint(read_vgg(path)[0])
    with torch.no_grad():
        maps = Features(net)(torch.from_numpy(pictures(1, 32, 32)))
    assert [x.shape[1] for x in maps] == [64, 128, 256, 512, 512][: int(name[0])]
    assert net.stages == (*STAGES["vgg19"][: int(name[0]) - 1], 1)


def state(layers: nn.Module, prefix: str = "features.") -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": value.numpy() for name, value in layers.state_dict().items()}


@pytest.mark.parametrize("depth", ["vgg16", "vgg19"])
@pytest.mark.parametrize("prefix", ["features.", ""])
def test_the_depth_is_told_by_the_numbers(depth: str, prefix: str) -> None:
    read = vgg_from_tensors(state(torchvision(STAGES[depth]), prefix), "x.pth")
    assert (read.kind, read.stages) == ("torchvision", STAGES[depth])


def without(tensors: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in tensors.items() if name not in names}


def refused() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    whole = state(torchvision(STAGES["vgg16"]))
    normal = state(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    thin = {name: value.numpy() for name, value in distilled((2, 1)).items()}
    return {
        "batch normalisation": (normal, "batch normalisation"),
        "a decoder": (without(thin, "conv0.weight", "conv0.bias"), "it is a decoder"),
        "nothing": ({"w": np.zeros(3, np.float32)}, "no 0.weight"),
        "a missing layer": (
            without(whole, "features.12.weight", "features.12.bias"), "expected it 2 or",
        ),
        "a missing bias": (without(whole, "features.12.bias"), "features.12.bias .* missing"),
        "another width": (
            whole | {"features.5.weight": np.zeros((6, 5, 3, 3), np.float32)},
            r"features.5.weight .* shape \(6, 5, 3, 3\), expected \(6, 4, 3, 3\)",
        ),
        "a missing lift": (without(thin, "conv21_aux.weight"), "conv21_aux.weight .* missing"),
        "a foreign tensor": (thin | {"w": np.zeros(3, np.float32)}, "no place for: w"),
        "a gap": (without(thin, "conv12.weight", "conv12.bias", "conv21.weight"), "no place for"),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(refused()))
def test_what_is_no_vgg_is_refused_by_name(case: str) -> None:
    tensors, message = refused()[case]
    with pytest.raises(ArchMismatch, match=message):
        vgg_from_tensors(tensors, "x.pth")


def test_lpips_heads_need_a_vgg_16_and_other_extras_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision(STAGES["vgg19"]).state_dict(), tmp_path / "vgg19.pth")
    with pytest.raises(
        ArchMismatch, match=r"expected torchvision's vgg16.*found a torchvision VGG"
    ):
        export("vgg", tmp_path / "vgg19.pth", tmp_path / "b", Extras(lpips=tmp_path / "none.pth"))
    with pytest.raises(InputError, match=r"no use for --encoder\. It takes --lpips"):
        export("vgg", tmp_path / "vgg19.pth", tmp_path / "b", Extras(encoder=tmp_path / "e"))
