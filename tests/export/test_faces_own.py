"""mien's own face networks as bundles: the graphs against their modules, and against YuNet's form.

What ships is tested on faces that mien's generator drew, laid on canvases at known places.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.export.rtx import BOTH
from tests.export.test_faces import decoded
from torch import nn

import mien_engines
from mien.faces.detect import open_detector
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, CorruptFile, InputError
from mien_export.content import Extras
from mien_export.export import export
from mien_export.nets import face_detector
from mien_export.nets.face_detector import FaceDetector, FaceDetectorConfig
from mien_export.nets.landmarks68 import Landmarks68, Landmarks68Config
from zoo.warps import inverse, moved, placing, warped

SMALL_DETECTOR = FaceDetectorConfig(((8,), (8,), (12, 12), (16,), (16, 16)), wide=12)
SMALL_LANDMARKS = Landmarks68Config(((8,), (12, 12), (16,)), last=6, size=48)
TREE = Path(__file__).parents[2]
ZOO = TREE / "sdk/mien/zoo"
PORTRAITS = ("ada", "ben")


def with_statistics(net: nn.Module) -> nn.Module:
    """Give every batch normalisation what a training would."""
    noise = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=noise)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=noise)  # type: ignore[union-attr]
    return net.eval().requires_grad_(False)


def saved(net: nn.Module, path: Path) -> Path:
    save_file({name: x.contiguous() for name, x in net.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def nets() -> tuple[FaceDetector, Landmarks68]:
    torch.manual_seed(5)
    detector, points = FaceDetector(SMALL_DETECTOR), Landmarks68(SMALL_LANDMARKS)
    with_statistics(detector)
    with_statistics(points)
    return detector, points


@pytest.fixture(scope="module")
def files(
    nets: tuple[FaceDetector, Landmarks68], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("own")
    return saved(nets[0], folder / "d.safetensors"), saved(nets[1], folder / "l.safetensors")


@pytest.fixture(scope="module")
def bundle(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("own") / "faces"
    export("faces", files[0], folder, Extras(landmarks=files[1]))
    return Bundle.open(folder)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (3, 96, 160), (2, 224, 64)])
def test_detect_is_the_module_at_any_size(
    nets: tuple[FaceDetector, Landmarks68],
    bundle: Bundle,
    rng: np.random.Generator,
    batch: int,
    height: int,
    width: int,
) -> None:
    images = (rng.random((batch, 3, height, width)) * 255).astype(np.float32)
    images[0] = 0
    with torch.no_grad():
        expected = nets[0](torch.from_numpy(images))
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("detect", input=images)
    names = [f"{part}_{s}" for part in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32)]
    for name, value in zip(names, expected, strict=True):
        stride = int(name.partition("_")[2])
        assert found[name].shape[:2] == (batch, height // stride * (width // stride))
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_landmarks_are_the_modules_in_pixels(
    nets: tuple[FaceDetector, Landmarks68], bundle: Bundle, rng: np.random.Generator, batch: int
) -> None:
    pictures = rng.integers(0, 256, (batch, 48, 48, 3), dtype=np.uint8)
    pictures[0] = 0
    with torch.no_grad():
        image = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        expected = nets[1](image) * 48
    with mien_engines.open(bundle, "ort") as engine:
        found = engine.run("landmarks", picture=pictures)["landmarks"]
    assert found.shape == (batch, 68, 2)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-3)


def test_points_keep_their_place_in_a_box_of_any_size() -> None:
    raw = torch.zeros(3, 2, face_detector.VALUES)
    raw[..., 2:4] = 0.25  # centre, strides from the cell
    raw[..., 4:6] = torch.log(torch.tensor([2.0, 6.0]))[:, None]
    raw[..., 6:] = torch.tensor([-0.5, 0.5] * 5)  # corners of the box
    face, quality, box, points = face_detector.decoded(raw)
    torch.testing.assert_close(face, torch.full((3, 2, 1), 0.5))
    torch.testing.assert_close(quality, face)
    torch.testing.assert_close(box[0, :, 2:].exp(), torch.tensor([[2.0, 2.0], [6.0, 6.0]]))
    expected = torch.tensor([[0.25 - 1, 0.25 + 1], [0.25 - 3, 0.25 + 3]])
    torch.testing.assert_close(points[0, :, :2], expected)
    torch.testing.assert_close(points[1], points[0])


def test_a_reader_of_yunet_and_pfld_reads_it(bundle: Bundle, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/weights/face_det"
    extras = Extras(landmarks=folder / "pfld_68.onnx")
    export("faces", folder / "yunet_n_dynamic.onnx", tmp_path / "foreign", extras)
    foreign = Bundle.open(tmp_path / "foreign").spec
    own = bundle.spec
    assert own.graphs["detect"].inputs == foreign.graphs["detect"].inputs
    outputs = [{t.name: t for t in spec.graphs["detect"].outputs} for spec in (own, foreign)]
    assert outputs[0] == outputs[1]
    assert set(own.properties) == {*foreign.properties, "longest"}
    for name in ("strides", "values", "colour", "points", "crop"):
        assert own.properties[name] == foreign.properties[name]


def test_openvino_agrees(bundle: Bundle, rng: np.random.Generator) -> None:
    pytest.importorskip("openvino")
    image = (rng.random((1, 3, 64, 96)) * 255).astype(np.float32)
    with mien_engines.open(bundle, "ov") as one, mien_engines.open(bundle, "ort") as other:
        found, expected = one.run("detect", input=image), other.run("detect", input=image)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3)


@BOTH
@pytest.mark.parametrize("graph", ["detect", "landmarks"])
def test_tensorrt_builds(bundle: Bundle, graph: str, assert_it_builds) -> None:  # type: ignore[no-untyped-def]
    assert_it_builds(bundle.graph_path(graph), side=64)


def test_a_landmark_network_goes_alone_too(files: tuple[Path, Path], tmp_path: Path) -> None:
    export("faces", files[1], tmp_path / "b")
    assert set(Bundle.open(tmp_path / "b").spec.graphs) == {"landmarks"}


def test_two_networks_must_be_a_detector_and_landmarks(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        ArchMismatch, match=r"l\.safetensors gives the graph landmarks, expected det"
    ):
        export("faces", files[1], tmp_path / "b", Extras(landmarks=files[1]))
    with pytest.raises(
        ArchMismatch, match=r"d\.safetensors gives the graph detect, expected landm"
    ):
        export("faces", files[0], tmp_path / "b", Extras(landmarks=files[0]))
    with pytest.raises(InputError, match="is not a file"):
        export("faces", files[0], tmp_path / "b", Extras(landmarks=tmp_path / "none"))
    assert not (tmp_path / "b").exists()


def test_other_tensors_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    detector, points = (load_file(file) for file in files)
    wrong: dict[str, tuple[dict[str, torch.Tensor], str]] = {
        "another": ({"conv.weight": torch.ones(1)}, "expected a detector or a landmark network"),
        "short": (
            {k: v for k, v in detector.items() if not k.startswith("pyramid.stages.3")},
            "halves the picture 4 times, expected 5",
        ),
        "holes": (
            {k: v for k, v in detector.items() if k != "heads.1.2.bias"},
            "heads.1.2.bias",
        ),
        "oblong": (points | {"points.weight": torch.ones(136, 210)}, "reads 210 values of 6"),
        "huge": (points | {"points.weight": torch.ones(136, 6 * 200**2)}, "at most 1024 px"),
    }
    for name, (tensors, message) in wrong.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        with pytest.raises(ArchMismatch, match=message):
            export("faces", path, tmp_path / "b")


def test_a_damaged_file_is_one_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(files[0].read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"cut\.safetensors"):
        export("faces", path, tmp_path / "b")


def drawn_portraits() -> list[tuple[np.ndarray, np.ndarray]]:
    """Faces that mien's generator drew, and their five points as YuNet found them."""
    return [
        (
            cv2.imread(str(ZOO / f"portraits/{name}.jpg"), cv2.IMREAD_COLOR_RGB),
            np.array(json.loads((ZOO / f"portraits/{name}.json").read_text())["points"]),
        )
        for name in PORTRAITS
    ]


def composite(
    portraits: list[tuple[np.ndarray, np.ndarray]], side: int, degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both portraits on one canvas, each turned; the canvas, and their points [2, 5, 2]."""
    canvas = np.linspace(30, 200, 2 * side).astype(np.uint8)
    canvas = np.repeat(np.tile(canvas, (side, 1))[:, :, None], 3, 2)
    points = []
    for i, (picture, five) in enumerate(portraits):
        centre = five.mean(0)
        place = np.array([side * (i + 0.5), side / 2])
        matrix = placing(centre, place, side / picture.shape[0], degrees * (1 - 2 * i))
        drawn = warped(picture, matrix, (2 * side, side))
        inside = moved(np.indices((2 * side, side)).T + 0.5, inverse(matrix))  # [side, 2 side, 2]
        size = picture.shape[1::-1]
        covered = ((inside > 1) & (inside < np.array(size) - 1)).all(2)
        covered &= (np.arange(2 * side) // side == i)[None]
        canvas[covered] = drawn[covered]
        points.append(moved(five, matrix))
    return canvas, np.array(points)


@pytest.mark.parametrize(("side", "degrees"), [(192, 0.0), (320, 25.0), (480, -15.0)])
def test_what_ships_finds_both_faces_of_a_composite(side: int, degrees: float) -> None:
    canvas, points = composite(drawn_portraits(), side, degrees)
    padded = np.pad(canvas, [(0, -size % 32) for size in canvas.shape[:2]] + [(0, 0)])
    image = padded[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    with mien_engines.open(ZOO / "faces", "ort") as engine:
        outputs = engine.run("detect", input=image)
    found = decoded(outputs, [8, 16, 32], padded.shape[1])
    assert len(found) == 2
    assert (found[:, 14] >= 0.7).all()
    for row, five in zip(found[np.argsort(found[:, 0])], points, strict=True):
        assert ((five > row[:2]) & (five < row[:2] + row[2:4])).all(), "points outside the box"
        # The card says how exact the detector's own points are; alignment takes the 68.
        assert error_of(row[4:14].reshape(5, 2), five) < 0.25


@pytest.mark.parametrize(("side", "degrees"), [(192, 0.0), (320, 25.0), (480, -15.0)])
def test_what_ships_gives_eyes_and_mouth_to_align_by(side: int, degrees: float) -> None:
    canvas, points = composite(drawn_portraits(), side, degrees)
    detector = open_detector(ZOO / "faces")
    faces = detector.detect(canvas)
    detector.close()
    assert len(faces) == 2
    for face, five in zip(faces, points, strict=True):
        assert face.landmarks.points.shape == (68, 2)
        at = face.landmarks.anchors()
        anchors = np.stack([at.eye_left, at.eye_right, at.mouth_left, at.mouth_right])
        assert error_of(anchors, five[[0, 1, 3, 4]]) < 0.15  # YuNet's one look is some percent off


def error_of(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean distance, against that of the eyes."""
    return float(np.hypot(*(found - wanted).T).mean() / np.hypot(*(wanted[1] - wanted[0])))
