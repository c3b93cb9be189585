"""A user's own ONNX network as a bundle, against the same file run by itself; and hostile files."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import ModelProto, TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tests.export.rtx import BOTH, assert_builds
from torch import Tensor, nn
from typer.testing import CliRunner

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import (
    ArchMismatch,
    CorruptFile,
    InputError,
    LimitExceeded,
    MienError,
    NonFiniteWeights,
    NotFinite,
    UnsafeFile,
)
from mien_export.checkpoints import read_state_dict
from mien_export.checkpoints.onnx_model import read_onnx
from mien_export.content import Extras
from mien_export.export import export

ort = pytest.importorskip("onnxruntime")
Size = int | str | None

# What black and white are to the network.
ENDS = {"255": (0.0, 255.0), "1": (0.0, 1.0), "sym": (-1.0, 1.0)}


def network(
    opset: int = 18,
    batch: Size = "n",
    sides: tuple[Size, Size] = (None, None),
    times: int = 1,
    white: float = 1.0,
) -> ModelProto:
    """Two convolutions, and between them an enlargement; values leave [0, white] a little."""
    rng = np.random.default_rng(5)
    weights = {
        "first___0": rng.standard_normal((16, 3, 3, 3)) * 0.3,
        "second": rng.standard_normal((3, 16, 3, 3)) * 0.15,
        "scales": np.array([1, 1, times, times]),
    }
    nodes = [
        helper.make_node("Conv", ["picture", "first___0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Resize", ["b", "", "scales"], ["levels"], mode="nearest"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(
            (np.ones((3, 1, 1)) * white / 2).astype(np.float32))),
        helper.make_node("Conv", ["levels", "second"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "c"], ["image"]),
    ]  # fmt: skip
    if opset < 13:
        nodes[2].input[1] = "roi"
        weights["roi"] = np.zeros(0)
    result = [n * times if isinstance(n, int) else None for n in sides]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, *sides])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, *result])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def by_itself(path: Path, picture: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """What the file makes of the picture, in levels from 0 to 255."""
    black, white = ends
    image = picture.transpose(0, 3, 1, 2) / np.float32(255) * (white - black) + black
    session = ort.InferenceSession(str(path))
    (found,) = session.run(None, {session.get_inputs()[0].name: image.astype(np.float32)})
    levels: np.ndarray = (found - black) / (white - black) * 255
    return levels.transpose(0, 2, 3, 1)


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)


def close(found: np.ndarray, levels: np.ndarray) -> None:
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, levels.clip(0, 255), rtol=0, atol=0.51)


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("name", list(ENDS))
def test_a_wrapped_network_gives_what_it_gives_by_itself(
    tmp_path: Path, opset: int, name: str
) -> None:
    path = saved(network(opset, white=ENDS[name][1]), tmp_path)
    export("generic", path, tmp_path / "b", Extras(value_range=name))
    with mien_engines.open(tmp_path / "b", "ort") as engine:
        for shape in ((1, 17, 24), (3, 32, 20)):
            found = engine.run("stylize", picture=pictures(*shape))
            levels = by_itself(path, pictures(*shape), ENDS[name])
            close(found["picture_next"], levels)
            energy = np.square(levels / 127.5 - 1).mean((1, 2, 3))
            np.testing.assert_allclose(found["energy"], energy, rtol=1e-3)


@BOTH
def test_openvino_agrees_and_tensorrt_builds(
    tmp_path: Path, assert_it_builds: Callable[..., None]
) -> None:
    path = saved(network(times=2), tmp_path)
    export("generic", path, tmp_path / "b", Extras(value_range="1"))
    try:
        engine = mien_engines.open(tmp_path / "b", "ov")
    except MienError as error:
        pytest.skip(str(error))
    with engine:
        found = engine.run("stylize", picture=pictures(2, 24, 17))["picture_next"]
    assert found.shape == (2, 48, 34, 3)
    close(found, by_itself(path, pictures(2, 24, 17), ENDS["1"]))
    assert_it_builds(tmp_path / "b" / "stylize.onnx", side=32)


def test_sizes_that_the_file_fixes_stay_fixed(tmp_path: Path) -> None:
    path = saved(network(batch=1, sides=(16, 24), times=2), tmp_path)
    export("generic", path, tmp_path / "b", Extras(value_range="1"))
    spec = Bundle.open(tmp_path / "b").graph("stylize")
    assert spec.inputs[0].shape == (1, 16, 24, 3)
    assert spec.outputs[0].shape == (1, 32, 48, 3)
    with mien_engines.open(tmp_path / "b", "ort") as engine:
        found = engine.run("stylize", picture=pictures(1, 16, 24))["picture_next"]
        close(found, by_itself(path, pictures(1, 16, 24), ENDS["1"]))
        with pytest.raises(InputError, match=r"expected \(1, 16, 24, 3\)"):
            engine.run("stylize", picture=pictures(2, 16, 24))


def test_weights_lie_in_the_weights_file(tmp_path: Path) -> None:
    path = saved(network(), tmp_path)
    export("generic", path, tmp_path / "b", Extras(value_range="1"))
    weights = load_file(tmp_path / "b" / "weights.safetensors")
    assert sorted(w.shape for w in weights.values()) == [(3, 16, 3, 3), (16, 3, 3, 3)]
    model = onnx.load(tmp_path / "b" / "stylize.onnx", load_external_data=False)
    kept = [t for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    assert max(np.prod(t.dims) for t in kept) < 256


def test_half_the_bytes_give_nearly_the_same(tmp_path: Path) -> None:
    path = saved(network(), tmp_path)
    export("generic", path, tmp_path / "b", Extras(value_range="1"), half=True)
    with mien_engines.open(tmp_path / "b", "ort") as engine:
        found = engine.run("stylize", picture=pictures(1, 16, 16))["picture_next"]
    levels = by_itself(path, pictures(1, 16, 16), ENDS["1"]).clip(0, 255)
    np.testing.assert_allclose(found, levels, atol=2)


def test_a_network_that_diverges_is_noticed(tmp_path: Path) -> None:
    model = network()
    model.graph.node[-1].output[0] = "e"
    model.graph.node.append(helper.make_node("Log", ["e"], ["f"]))
    model.graph.node.append(helper.make_node("Sqrt", ["f"], ["image"]))
    export("generic", saved(model, tmp_path), tmp_path / "b", Extras(value_range="1"))
    with (
        mien_engines.open(tmp_path / "b", "ort") as engine,
        pytest.raises(NotFinite, match="energy"),
    ):
        engine.run("stylize", picture=pictures(1, 8, 8))


def test_the_range_is_asked_for(tmp_path: Path) -> None:
    path = saved(network(), tmp_path)
    with pytest.raises(InputError, match=r"Add --range: 255 \(0 to 255\), 1 .* or sym"):
        export("generic", path, tmp_path / "b")
    with pytest.raises(InputError, match="--range 0-1 is not known"):
        export("generic", path, tmp_path / "b", Extras(value_range="0-1"))
    with pytest.raises(InputError, match="faces has no use for --range"):
        export("faces", path, tmp_path / "b", Extras(value_range="1"))


def test_the_command_takes_the_range(tmp_path: Path) -> None:
    import typer

    from mien_export.cli import command

    app = typer.Typer()
    app.command()(command)
    path = saved(network(), tmp_path)
    arguments = ["generic", str(path), "-o", str(tmp_path / "b"), "--range", "sym", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert Bundle.open(tmp_path / "b").spec.properties["range"] == "sym"


# Files that are not what they should be.


def outside(tmp_path: Path, location: str = "data.bin", **places: str) -> Path:
    """A network whose first tensor is in another file, which is there unless the test moves it."""
    model = network()
    tensor = model.graph.initializer[0]
    (tmp_path / "data.bin").write_bytes(b"\0" * 8 + tensor.raw_data)
    wanted = {"location": location, "offset": "8", "length": str(len(tensor.raw_data)), **places}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in wanted.items():
        tensor.external_data.add(key=key, value=value)
    return saved(model, tmp_path)


def test_data_beside_the_model_are_read(tmp_path: Path) -> None:
    path = outside(tmp_path)
    read = read_onnx(path)
    own = network().graph.initializer[0]
    np.testing.assert_array_equal(
        numpy_helper.to_array(read.model.graph.initializer[0]), numpy_helper.to_array(own)
    )
    (tmp_path / "data.bin").write_bytes(b"\0" * (8 + len(own.raw_data)))
    assert read_onnx(path).sha256 != read.sha256


@pytest.mark.parametrize(
    "location",
    ["../data.bin", "a/../../data.bin", "/etc/passwd", "a/data.bin", "..", "", "a\\..\\data.bin"],
)
def test_data_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    inside = tmp_path / "inside"
    (inside / "a").mkdir(parents=True)
    for folder in (tmp_path, inside / "a"):
        (folder / "data.bin").write_bytes(b"\0" * 4096)
    with pytest.raises(UnsafeFile, match="expected the name of a file beside it"):
        read_onnx(outside(inside, location))


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe", "folder"])
def test_data_behind_links_are_refused(tmp_path: Path, kind: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = outside(inside)
    (inside / "data.bin").rename(tmp_path / "secret")
    make: dict[str, Callable[[Path], None]] = {
        "symbolic": lambda at: at.symlink_to(tmp_path / "secret"),
        "hard": lambda at: at.hardlink_to(tmp_path / "secret"),
        "pipe": lambda at: os.mkfifo(at),
        "folder": lambda at: at.mkdir(),
    }
    make[kind](inside / "data.bin")
    with pytest.raises((UnsafeFile, CorruptFile), match=r"link|directory"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"offset": "64"}, "ends at byte 1792 of data.bin, which has 1736"),
        ({"offset": str(2**50)}, "ends at byte"),
        ({"offset": "-8"}, "is 1728 bytes at -8"),
        ({"length": "4"}, "is 4 bytes at 8 of a file, expected 1728"),
        ({"length": "1e3"}, "expected 1728"),
        ({"location": "nothing.bin"}, "No such file"),
    ],
)
def test_data_of_another_size_are_refused(
    tmp_path: Path, places: dict[str, str], message: str
) -> None:
    with pytest.raises(CorruptFile, match=message):
        read_onnx(outside(tmp_path, **places))


def test_data_that_are_read_again_and_again_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(outside(tmp_path), load_external_data=False)
    model.graph.initializer.extend([model.graph.initializer[0]] * 9)
    path = saved(model, tmp_path)
    monkeypatch.setattr("mien_export.checkpoints.onnx_data.MAX_BYTES", path.stat().st_size + 9000)
    with pytest.raises(LimitExceeded, match="more than"):
        read_onnx(path)


def hostile() -> dict[str, tuple[Callable[[ModelProto], object], type[MienError], str]]:
    def node(*arguments: object, **named: object) -> Callable[[ModelProto], object]:
        return lambda m: m.graph.node.append(helper.make_node(*arguments, **named))  # type: ignore[arg-type]

    def tensor(**fields: object) -> Callable[[ModelProto], object]:
        def change(m: ModelProto) -> None:
            first = m.graph.initializer[0]
            for name, value in fields.items():
                first.ClearField(name)  # type: ignore[arg-type]
                if isinstance(value, list):
                    getattr(first, name).extend(value)
                else:
                    setattr(first, name, value)

        return change

    body = helper.make_graph([], "body", [], [])
    context = node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context="/lib/x.so")
    loop = node("Loop", ["trips", ""], ["x"], body=body)
    function = helper.make_function("own", "F", ["x"], ["x"], [], [helper.make_opsetid("", 18)])
    infinite = (np.full((16, 3, 3, 3), np.inf, np.float32)).tobytes()
    return {
        "a foreign operator": (node("Run", [], [], domain="evil\n"), UnsafeFile, "Run of evil"),
        "an engine inside": (context, UnsafeFile, "EPContext of com.microsoft"),
        "a loop": (loop, ArchMismatch, "Loop has a graph inside"),
        "functions": (lambda m: m.functions.append(function), ArchMismatch, "functions"),
        "sparse tensors": (
            lambda m: m.graph.sparse_initializer.add(dims=[2]), ArchMismatch, "sparse",
        ),
        "a newer opset": (
            lambda m: setattr(m.opset_import[0], "version", 99), ArchMismatch, "has opset 99",
        ),
        "a newer format": (lambda m: setattr(m, "ir_version", 99), ArchMismatch, "version 99"),
        "an older opset": (
            lambda m: setattr(m.opset_import[0], "version", 9), ArchMismatch, "expected 11 or",
        ),
        "no opset": (lambda m: m.ClearField("opset_import"), ArchMismatch, "has opset none"),
        "an unknown operator": (node("Teleport", ["a"], ["x"]), ArchMismatch, "Teleport"),
        "a gigantic tensor": (tensor(dims=[2**40, 2**40]), CorruptFile, "has 1728 bytes"),
        "a negative size": (tensor(dims=[-1]), CorruptFile, r"shape \(-1\)"),
        "a truncated tensor": (tensor(raw_data=b"1234"), CorruptFile, "has 4 bytes"),
        "texts": (tensor(data_type=8), ArchMismatch, "kind STRING"),
        "an unknown kind": (tensor(data_type=77), ArchMismatch, "kind 77"),
        "infinity": (tensor(raw_data=infinite), NonFiniteWeights, "first___0"),
        "a gigantic picture": (
            lambda m: setattr(
                m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 2**40
            ), LimitExceeded, "picture has shape",
        ),
        "one channel": (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 1),
            ArchMismatch, "input picture has kind 1 and shape",
        ),
        "half precision": (
            lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 10),
            ArchMismatch, "output image has kind 10",
        ),
        "two inputs": (
            lambda m: m.graph.input.append(
                helper.make_tensor_value_info("style", TensorProto.FLOAT, [1])
            ), ArchMismatch, "has 2 inputs, picture, style; expected one",
        ),
        "nothing": (lambda m: m.ClearField("graph"), CorruptFile, "no operators"),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(hostile()))
def test_what_is_no_plain_network_is_refused(tmp_path: Path, case: str) -> None:
    change, error, message = hostile()[case]
    model = network()
    change(model)
    with pytest.raises(error, match=message) as caught:
        export("generic", saved(model, tmp_path), tmp_path / "b", Extras(value_range="1"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(CorruptFile):
        read_onnx(tmp_path / "x.pth")
    with pytest.raises(InputError, match="is not a file"):
        read_onnx(tmp_path / "none.onnx")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(LimitExceeded, match=r"large\.onnx is larger"):
        read_onnx(tmp_path / "large.onnx")


def test_damage_is_always_typed(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = network().SerializeToString()
    path = tmp_path / "damaged.onnx"
    for i in range(300):
        data = bytearray(whole)
        if i % 3 == 0:
            data = data[: rng.integers(len(data))]
        else:  # mostly in what describes the network, which is at both ends
            for at in rng.integers(-700, 300, 3):
                data[at] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(MienError):
            export("generic", path, tmp_path / "b", Extras(value_range="1"), overwrite=True)


class Bottleneck(nn.Module):
    """Expansion, a convolution of each channel, projection; each normalised by instance."""

    def __init__(self, read: dict[str, Tensor], name: str, stride: int = 1) -> None:
        super().__init__()
        self.parts = [
            (
                read[f"{name}.conv{i}.weight"],
                read[f"{name}.in{i}.weight"],
                read[f"{name}.in{i}.bias"],
            )
            for i in (1, 2, 3)
        ]
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, (weight, gain, bias) in enumerate(self.parts):
            if i == 1:
                y = F.pad(y, (1, 1, 1, 1), mode="reflect")
                y = F.conv2d(y, weight, stride=self.stride, groups=len(weight))
            else:
                y = F.conv2d(y, weight)
            y = F.instance_norm(y, weight=gain, bias=bias)
            y = F.relu6(y) if i < 2 else y
        return x + y if x.shape == y.shape else y


class Candy(nn.Module):
    """A feed-forward style network of such blocks, on RGB from 0 to 255."""

    def __init__(self, read: dict[str, Tensor]) -> None:
        super().__init__()
        self.read = read
        self.down = nn.Sequential(Bottleneck(read, "conv2", 2), Bottleneck(read, "conv3", 2))
        self.deep = nn.Sequential(*(Bottleneck(read, f"res{i}") for i in range(1, 6)))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), Bottleneck(read, "upconv1.conv1"),
            nn.Upsample(scale_factor=2), Bottleneck(read, "upconv2.conv1"),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        x = F.conv2d(F.pad(image, (4, 4, 4, 4), mode="reflect"), self.read["conv1.weight"])
        x = F.instance_norm(x, weight=self.read["in1.weight"], bias=self.read["in1.bias"])
        x = self.up(self.deep(self.down(F.relu(x))))
        return F.conv2d(F.pad(x, (4, 4, 4, 4), mode="reflect"), self.read["conv4.weight"])


class MicroEncoder(nn.Module):
    """MicroAST's encoder as an image network: its first map, brought to three channels."""

    def __init__(self, read: dict[str, Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, image: Tensor) -> Tensor:
        x = F.pad(image, (4, 4, 4, 4), mode="reflect")
        x = F.relu(F.conv2d(x, self.part("0", "weight"), self.part("0", "bias")))
        x = F.conv2d(x, self.part("2", "weight").repeat(1, 1, 1, 1)[:16], padding=1, groups=16)
        return x.reshape(x.shape[0], 4, 4, *x.shape[2:]).mean(2)[:, :3].sigmoid()

    def part(self, place: str, kind: str) -> Tensor:
        return self.read[f"enc1.{place}.conv_layer.{kind}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "module", "name"),
    [
        ("fast_style/mobilenetv2_candy.pth", Candy, "255"),
        ("microast/content_encoder_iter_160000.pth.tar", MicroEncoder, "1"),
    ],
)
def test_a_real_network_exported_by_torch_is_wrapped(
    shared: Path, tmp_path: Path, file: str, module: type[nn.Module], name: str
) -> None:
    import cv2

    path = shared / "data/weights" / file
    if not path.is_file():
        pytest.skip("the real networks are not on this machine")
    read = {key: torch.from_numpy(value) for key, value in read_state_dict(path).items()}
    net = module(read).eval()
    photo = cv2.imread(str(next((shared / "data/images/portraits512").glob("*"))))
    picture = np.ascontiguousarray(cv2.resize(photo, (96, 64))[None, :, :, ::-1])
    image = torch.from_numpy(picture).permute(0, 3, 1, 2).float()
    image = image if name == "255" else image / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(net, (image,), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "network.onnx", external_data=True)
    export("generic", tmp_path / "network.onnx", tmp_path / "b", Extras(value_range=name))
    with torch.no_grad():
        levels = net(image).permute(0, 2, 3, 1).numpy() * (1 if name == "255" else 255)
    with mien_engines.open(tmp_path / "b", "ort") as engine:
        found = engine.run("stylize", picture=picture)["picture_next"]
    np.testing.assert_allclose(found, levels.clip(0, 255), rtol=0, atol=0.6)
    assert found.std() > 10
    assert_builds(tmp_path / "b" / "stylize.onnx")
