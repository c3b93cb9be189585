"""Recognition networks: graphs against the official outputs and against a formula of our own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.export.rtx import BOTH
from tests.golden import load_golden, seeded
from tests.golden.foreign import golden_tensors
from torch import Tensor, nn

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError, NonFiniteWeights
from mien_export.checkpoints.arcface import ArcfaceCheckpoint, Network, read_arcface
from mien_export.content import Extras
from mien_export.export import export
from mien_export.families.arcface import Net, framing, name, network
from mien_export.nets.ir_se import IrSe, TrunkConfig
from mien_export.nets.iresnet import IResNet, IResNetConfig
from mien_export.nets.mobilefacenet import MobileFaceNet, MobileFaceNetConfig
from mien_export.nets.pictures import from_uint8
from mien_export.nets.recogniser import Recogniser
from mien_export.to_onnx import onnx_from_module

F32 = NDArray[np.float32]
Tensors = dict[str, Tensor]

OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range
STAGES = ((8, 1), (12, 2), (16, 1), (24, 1))
UNITS = ((16, 8, 2), (16, 8, 1), (32, 12, 2), (24, 12, 1), (48, 12, 2))

TINY: dict[str, Callable[[], Net]] = {
    "iresnet": lambda: IResNet(IResNetConfig((8, 8, 12, 16, 20), (1, 2, 1, 1), 32, 24)),
    "ir_se": lambda: IrSe(TrunkConfig(8, STAGES, (2, 3, 4, 6)), 48, 24),
    "ir": lambda: IrSe(TrunkConfig(8, STAGES), 32, 24),
    "mobilefacenet": lambda: MobileFaceNet(MobileFaceNetConfig(8, UNITS, 32, 2, 16)),
}
NAMES = {"iresnet": "iresnet12", "ir_se": "ir_se12", "mobilefacenet": "mobilefacenet"}


def drawn(shapes: dict[str, tuple[int, ...]], init: str = "he*0.7") -> Tensors:
    """A checkpoint of seeded tensors; the running statistics among them are no one's default."""
    return {k: torch.from_numpy(np.array(seeded.tensor(k, s, init))) for k, s in shapes.items()}


def tiny(kind: str) -> Tensors:
    return drawn({k: tuple(x.shape) for k, x in TINY[kind]().state_dict().items()})


def bn(t: Tensors, at: str, x: Tensor) -> Tensor:
    mean, variance = t[f"{at}.running_mean"], t[f"{at}.running_var"]
    return F.batch_norm(x, mean, variance, t[f"{at}.weight"], t[f"{at}.bias"], eps=1e-5)


def conv(t: Tensors, at: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    weight = t[f"{at}.weight"]
    return F.conv2d(x, weight, None, stride, weight.shape[2] // 2, 1, groups)


def iresnet(t: Tensors, x: Tensor) -> Tensor:
    x = F.prelu(bn(t, "bn1", conv(t, "conv1", x)), t["prelu.weight"])
    for stage in range(1, 5):
        for i in range(sum(k.endswith("prelu.weight") for k in t if k.startswith(f"layer{stage}"))):
            at, stride = f"layer{stage}.{i}", 2 if i == 0 else 1
            y = bn(t, f"{at}.bn2", conv(t, f"{at}.conv1", bn(t, f"{at}.bn1", x)))
            y = F.prelu(y, t[f"{at}.prelu.weight"])
            y = bn(t, f"{at}.bn3", conv(t, f"{at}.conv2", y, stride))
            if i == 0:
                x = bn(t, f"{at}.downsample.1", conv(t, f"{at}.downsample.0", x, 2))
            x = y + x
    x = F.linear(bn(t, "bn2", x).flatten(1), t["fc.weight"], t["fc.bias"])
    return bn(t, "features", x)


def ir(t: Tensors, x: Tensor) -> Tensor:
    x = F.prelu(bn(t, "input_layer.1", conv(t, "input_layer.0", x)), t["input_layer.2.weight"])
    for i in range(sum(k.endswith("res_layer.3.weight") for k in t)):
        at, res = f"body.{i}", f"body.{i}.res_layer"
        cut = f"{at}.shortcut_layer.0.weight" in t
        stride = 2 if i == 0 or cut else 1
        y = F.prelu(conv(t, f"{res}.1", bn(t, f"{res}.0", x)), t[f"{res}.2.weight"])
        y = bn(t, f"{res}.4", conv(t, f"{res}.3", y, stride))
        if f"{res}.5.fc1.weight" in t:
            means = F.adaptive_avg_pool2d(y, 1)
            y = y * conv(t, f"{res}.5.fc2", conv(t, f"{res}.5.fc1", means).relu()).sigmoid()
        short = f"{at}.shortcut_layer"
        x = bn(t, f"{short}.1", conv(t, f"{short}.0", x, 2)) if cut else F.max_pool2d(x, 1, stride)
        x = x + y
    x = bn(t, "output_layer.0", x).flatten(1)
    x = F.linear(x, t["output_layer.3.weight"], t["output_layer.3.bias"])
    return bn(t, "output_layer.4", x)


def mobilefacenet(t: Tensors, x: Tensor) -> Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=x.dtype)[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=x.dtype)[:, None, None]
    x = ((x + 1) / 2 - mean) / deviation
    x = F.relu6(bn(t, "conv1.1", conv(t, "conv1.0", x, 2)))
    x = bn(t, "dw_conv.bn1", conv(t, "dw_conv.depthwise", x, groups=x.shape[1])).relu()
    x = bn(t, "dw_conv.bn2", conv(t, "dw_conv.pointwise", x)).relu()
    for i, (inside, c_out, stride) in enumerate(UNITS):
        at = f"features.{i}.conv"
        y = F.relu6(bn(t, f"{at}.0.1", conv(t, f"{at}.0.0", x)))
        y = F.relu6(bn(t, f"{at}.1.1", conv(t, f"{at}.1.0", y, stride, inside)))
        y = bn(t, f"{at}.3", conv(t, f"{at}.2", y))
        x = x + y if stride == 1 and x.shape[1] == c_out else y
    x = F.relu6(bn(t, "conv2.1", conv(t, "conv2.0", x)))
    x = bn(t, "gdconv.bn", F.conv2d(x, t["gdconv.depthwise.weight"], groups=x.shape[1]))
    x = F.conv2d(x, t["conv3.weight"], t["conv3.bias"]).flatten(1)
    return bn(t, "bn", x)


FORMULAS = {"iresnet": iresnet, "ir_se": ir, "ir": ir, "mobilefacenet": mobilefacenet}


def shrunk(x: Tensor, size: int) -> Tensor:
    """The published resize of the losses on insightface's networks."""
    return F.interpolate(x, size=(size, size), mode="bicubic", align_corners=False)


def cut_out(x: Tensor, size: int) -> Tensor:
    """pSp's: the middle of the aligned face, pooled."""
    return F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(x, 256)[:, :, 35:223, 32:220], size)


FRAMES = {"iresnet": shrunk, "ir_se": cut_out, "ir": cut_out, "mobilefacenet": cut_out}


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def formula(kind: str, tensors: Tensors, image: Tensor) -> F32:
    double = {k: v.double() for k, v in tensors.items()}
    embedding: F32 = unit(FORMULAS[kind](double, image.double()).numpy())
    return embedding


def close(found: F32, expected: F32) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=OF_RANGE * float(np.ptp(expected)))


@pytest.fixture(scope="module", params=["iresnet", "ir_se", "mobilefacenet"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("arcface")
    tensors = tiny(kind) | {"bn1.num_batches_tracked": torch.tensor(7)}
    torch.save(tensors, folder / "net.pth")
    export("arcface", folder / "net.pth", folder / "bundle")
    return Bundle.open(folder / "bundle")


def test_sizes_and_names_are_read_from_the_tensors(bundle: Bundle, kind: str) -> None:
    net = TINY[kind]()
    properties = {"size": net.size, "width": net.embedding, "network": NAMES[kind]}
    assert bundle.spec.properties == properties


@pytest.mark.parametrize("batch", [1, 3])
def test_a_picture_is_embedded_as_the_formula_says(
    bundle: Bundle, kind: str, batch: int, rng: np.random.Generator
) -> None:
    size = TINY[kind]().size
    pictures = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("embed", picture=pictures)["embedding"]
    image = torch.from_numpy((pictures.astype(np.float32) - 127.5) / 127.5).permute(0, 3, 1, 2)
    close(found, formula(kind, tiny(kind), image))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_an_aligned_image_is_framed_as_the_losses_do(
    bundle: Bundle, kind: str, batch: int, rng: np.random.Generator
) -> None:
    image = rng.uniform(-1, 1, (batch, 3, 256, 256)).astype(np.float32)
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("embed_image", image=image)["embedding"]
    framed = FRAMES[kind](torch.from_numpy(image).double(), TINY[kind]().size)
    close(found, formula(kind, tiny(kind), framed))


@pytest.mark.parametrize("size", [48, 128, 1024])
def test_images_of_any_size_are_framed(kind: str, size: int, rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, size, size)).astype(np.float32))
    net = TINY[kind]()
    expected = FRAMES[kind](image, net.size).numpy()
    np.testing.assert_allclose(framing(net, size)(image).numpy(), expected, rtol=0, atol=2e-5)


def test_a_trunk_without_squeezes_is_one_of_its_own(rng: np.random.Generator) -> None:
    net = network(ArcfaceCheckpoint({k: v.numpy() for k, v in tiny("ir").items()}, "ir", ""))
    assert name(net) == "ir12"
    image = torch.from_numpy(rng.uniform(-1, 1, (3, 3, 32, 32)).astype(np.float32))
    close(Recogniser(net)(image).numpy(), formula("ir", tiny("ir"), image))


def test_black_and_white_pictures_are_embedded(bundle: Bundle, kind: str) -> None:
    size = TINY[kind]().size
    pictures = np.stack([np.full((size, size, 3), level, np.uint8) for level in (0, 255)])
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("embed", picture=pictures)["embedding"]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_an_embedding_of_zero_stays_zero_and_has_a_gradient() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    embedding = Recogniser(nn.Identity())(x)
    embedding.sum().backward()
    assert not embedding.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()


class IdentityLoss(nn.Module):
    """image, wanted embedding -> gradient of 1 - cosine by the image, as a swap's step takes it."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def loss(self, image: Tensor, wanted: Tensor) -> Tensor:
        return (1 - (self.recogniser(image) * wanted).sum(1)).sum()

    def forward(self, image: Tensor, wanted: Tensor) -> Tensor:
        gradient: Tensor = torch.func.grad(self.loss)(image, wanted)
        return gradient


def test_the_gradient_by_the_image_leaves_torch(kind: str, rng: np.random.Generator) -> None:
    tensors = {k: v.numpy() for k, v in tiny(kind).items()}
    net = network(ArcfaceCheckpoint(tensors, tell(kind), ""))
    module = IdentityLoss(Recogniser(net, framing(net, 64))).eval()
    image = torch.from_numpy(rng.uniform(-1, 1, (3, 3, 64, 64)).astype(np.float32))
    wanted = torch.from_numpy(unit(rng.standard_normal((3, net.embedding))).astype(np.float32))
    model = onnx_from_module(module, [image[:2], wanted[:2]], ["image", "wanted"], ["gradient"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {"image": image.numpy(), "wanted": wanted.numpy()})[0]
    image.requires_grad_(True)
    module.loss(image, wanted).backward()
    assert image.grad is not None
    close(found, image.grad.numpy())


def tell(kind: str) -> Network:
    return "iresnet" if kind == "iresnet" else "mobilefacenet" if kind == "mobilefacenet" else "ir"


@BOTH
@pytest.mark.parametrize("graph", ["embed", "embed_image"])
def test_tensorrt_parses_and_builds_without_a_gpu(
    bundle: Bundle, graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(bundle.graph_path(graph))


def test_openvino_agrees(bundle: Bundle, kind: str, rng: np.random.Generator) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    image = rng.uniform(-1, 1, (3, 3, 256, 256)).astype(np.float32)
    with mien_engines.open(bundle, "ort") as one, mien_engines.open(bundle, "ov") as other:
        expected = one.run("embed_image", image=image)["embedding"]
        close(other.run("embed_image", image=image)["embedding"], expected)


def exported(recogniser: nn.Module, image: F32) -> F32:
    """What ONNX Runtime makes of the exported network."""
    model = onnx_from_module(recogniser, [torch.from_numpy(image)], ["image"], ["embedding"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: F32 = session.run(None, {"image": image})[0]
    return found


def golden_input(golden: str) -> F32:
    image: F32 = np.clip(seeded.draw(f"{golden}/x", (2, 3, 112, 112)), -1, 1)
    return image


def golden_net(golden: str, kind: Network) -> Net:
    tensors = {k: v.numpy() for k, v in golden_tensors(golden).items() if "tracked" not in k}
    return network(ArcfaceCheckpoint(tensors, kind, ""))


@pytest.mark.slow
def test_iresnet50_computes_what_insightface_computes() -> None:
    golden = "arcface-iresnet50"
    net = golden_net(golden, "iresnet")
    assert (name(net), net.size, net.embedding) == ("iresnet50", 112, 512)
    expected = load_golden(golden)[1]["embedding"]
    close(exported(net, golden_input(golden)), expected)
    close(Recogniser(net)(torch.from_numpy(golden_input(golden))).numpy(), unit(expected))


@pytest.mark.slow
def test_ir_se50_computes_what_its_authors_compute() -> None:
    # These weights let the activations grow to 1e5, where the squeezes switch like relays: float32
    # itself strays from float64, by 4e-4 of the range in the first picture and 5e-2 in the second.
    golden = "arcface-ir_se50"
    net = golden_net(golden, "ir")
    assert (name(net), net.size, net.embedding) == ("ir_se50", 112, 512)
    expected = load_golden(golden)[1]["embedding"]
    exact = unit(net.double()(torch.from_numpy(golden_input(golden)).double()).numpy())
    strayed = np.abs(exact - expected).max(1) / np.ptp(expected)
    assert strayed[0] < 1e-3
    assert strayed[1] < 0.06


@pytest.mark.slow
def test_ir_se50_leaves_torch_as_the_formula_says() -> None:
    # Weights of the same names and shapes, small enough to be well conditioned.
    golden = "arcface-ir_se50"
    shapes = {k: tuple(s) for k, s in load_golden(golden)[0]["tensors"].items()}
    tensors = drawn({k: s for k, s in shapes.items() if "tracked" not in k}, "he*0.3")
    net = network(ArcfaceCheckpoint({k: v.numpy() for k, v in tensors.items()}, "ir", ""))
    image = golden_input(golden)
    close(exported(Recogniser(net), image), formula("ir_se", tensors, torch.from_numpy(image)))


@pytest.fixture(scope="module")
def published() -> Net:
    path = Path(__file__).parents[2].parent / "shared/data/weights/face_embed"
    if not (path / "foamliu_mobilefacenet.pt").is_file():
        pytest.skip("the published MobileFaceNet is not on this machine")
    return network(read_arcface(path / "foamliu_mobilefacenet.pt"))


def people(shared: Path, count: int = 24) -> list[NDArray[np.uint8]]:
    """Aligned faces of as many people, uint8 RGB [128, 128, 3]."""
    archive = shared / "data/images/faces128_generated_a.tar"
    if not archive.is_file():
        pytest.skip("the pictures of faces are not on this machine")
    found = []
    with tarfile.open(archive) as faces:
        names = sorted(n for n in faces.getnames() if n.endswith(".jpg"))
        for entry in names[:: len(names) // count][:count]:
            stored = faces.extractfile(entry)
            assert isinstance(stored, io.BufferedIOBase)
            data = np.frombuffer(stored.read(), np.uint8)
            found.append(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
    return found


def retaken(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The face a little turned, moved, larger, and darker."""
    turn = cv2.getRotationMatrix2D((64, 64), 4, 1.03)
    turn[:, 2] += (1, -2)
    moved = cv2.warpAffine(face, turn, (128, 128), borderMode=cv2.BORDER_REFLECT)
    darker: NDArray[np.uint8] = np.clip(moved * 0.85 + 5, 0, 255).astype(np.uint8)
    return darker


def test_mobilefacenet_tells_people_apart(published: Net, shared: Path) -> None:
    faces, recogniser = people(shared), Recogniser(published, framing(published, 128))

    def embedded(pictures: list[NDArray[np.uint8]]) -> F32:
        found: F32 = recogniser(from_uint8(torch.from_numpy(np.stack(pictures)))).numpy()
        return found

    originals, again = embedded(faces), embedded([retaken(f) for f in faces])
    same = (originals * again).sum(1)
    different = (originals @ originals.T)[np.triu_indices(len(faces), 1)]
    assert same.min() > 0.5
    assert different.mean() < 0.4
    assert np.quantile(different, 0.9) < same.min()


def saved(tensors: Any, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def without(*names: str) -> Callable[[Tensors], Any]:
    return lambda t: {k: v for k, v in t.items() if k not in names}


def having(**values: Tensor) -> Callable[[Tensors], Any]:
    return lambda t: t | {k.replace("__", "."): v for k, v in values.items()}


REFUSALS: dict[str, tuple[str, Callable[[Tensors], Any], str]] = {
    "a tensor is missing": (
        "iresnet", without("layer2.1.bn2.bias"), r"lacks 1 of .* layer2\.1\.bn2\.bias",
    ),
    "its last layer is missing": ("iresnet", without("fc.weight"), r"no fc\.weight"),
    "a stage is missing": ("ir", without("body.0.res_layer.3.weight"), r"body\.0\.res_layer\.3"),
    "a squeeze is missing": (
        "ir_se", without("body.2.res_layer.5.fc2.weight"), r"body\.2\.res_layer\.5\.fc2",
    ),
    "a norm has another width": (
        "ir", having(body__0__res_layer__0__bias=torch.zeros(9)), r"\(9,?\), expected \(8,?\)",
    ),
    "a size has no sense": ("iresnet", having(fc__weight=torch.zeros(24)), "expected 2 dimensions"),
    "its picture is no square": (
        "iresnet", having(fc__weight=torch.zeros(24, 60)), r"\(24, 60\), expected \(24, 20\)",
    ),
    "it has more": ("mobilefacenet", having(arc__weight=torch.zeros(3, 3)), r"no place for.* arc"),
    "a kernel is enormous": (
        "mobilefacenet",
        having(
            gdconv__depthwise__weight=torch.zeros(32, 1, 256, 256),
        ),
        "expected 1024 at most",
    ),
    "it is something else": ("ir", lambda t: {"a": torch.zeros(2)}, "no recognition network"),
    "it is an encoder": (
        "ir", lambda t: {f"encoder.{k}": v for k, v in t.items()}, "family encoder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_not_such_a_network_is_refused_by_name(tmp_path: Path, case: str) -> None:
    kind, change, text = REFUSALS[case]
    path = saved(change(tiny(kind)), tmp_path / "net.pth")
    with pytest.raises(ArchMismatch, match=text) as caught:
        export("arcface", path, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_nan_is_refused(tmp_path: Path) -> None:
    tensors = tiny("ir") | {"output_layer.3.bias": torch.full((24,), torch.nan)}
    with pytest.raises(NonFiniteWeights, match=r"output_layer\.3\.bias"):
        read_arcface(saved(tensors, tmp_path / "net.pth"))


def test_a_file_of_no_use_is_refused(tmp_path: Path) -> None:
    path = saved(tiny("ir"), tmp_path / "net.pth")
    with pytest.raises(InputError, match="no use for --vgg"):
        export("arcface", path, tmp_path / "bundle", Extras(vgg=path))
