"""Face networks as bundles, against OpenCV's own detector and the files run by themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.export.rtx import assert_builds

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError
from mien_export.content import Extras
from mien_export.export import export

SCORE, OVERLAP = 0.6, 0.3
YUNETS = ("yunet_n_dynamic", "yunet_n_640_640", "yunet_s_640_640")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = Path(__file__).parents[2].parent / "shared/data/weights/face_det"
    if not folder.is_dir():
        pytest.skip("the face networks are not on this machine")
    made = tmp_path_factory.mktemp("faces")
    for name in (*YUNETS, "pfld_68"):
        export("faces", folder / f"{name}.onnx", made / name)
    return {name: Bundle.open(made / name) for name in (*YUNETS, "pfld_68")}


def decoded(outputs: dict[str, np.ndarray], strides: list[int], width: int) -> np.ndarray:
    """Faces [n, 15] as cv2.FaceDetectorYN lists them: box, five points, score.

    A cell at column c and row r of a stride s: the score is sqrt(cls * obj), the centre is
    (c + dx, r + dy) * s, sides are exp(dw, dh) * s, points are (c + px, r + py) * s.
    """
    faces = []
    for s in strides:
        cls, obj, box, points = (outputs[f"{p}_{s}"][0] for p in ("cls", "obj", "bbox", "kps"))
        index = np.arange(len(cls))
        cell = np.stack([index % (width // s), index // (width // s)], 1)
        centre, sides = (cell + box[:, :2]) * s, np.exp(box[:, 2:]) * s
        places = (np.tile(cell, 5) + points) * s
        score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))
        faces.append(np.concatenate([centre - sides / 2, sides, places, score], 1))
    found = np.concatenate(faces)
    found = found[found[:, 14] >= SCORE]
    kept: list[np.ndarray] = []
    for face in found[np.argsort(-found[:, 14])]:
        if all(_overlap(face, other) <= OVERLAP for other in kept):
            kept.append(face)
    return np.array(kept)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:4], b[:2] + b[2:4])
    common = float((high - low).clip(0).prod())
    return common / float(a[2:4].prod() + b[2:4].prod() - common)


def two_faces(shared: Path, width: int, height: int) -> np.ndarray:
    """A picture with two portraits in it, BGR."""
    portraits = sorted((shared / "data/images/portraits512").glob("*"))[:2]
    side = min(width // 2, height)
    canvas = np.full((height, width, 3), 90, np.uint8)
    for i, path in enumerate(portraits):
        photo = cv2.resize(cv2.imread(str(path)), (side, side), interpolation=cv2.INTER_AREA)
        canvas[i * (height - side) : i * (height - side) + side, i * side : (i + 1) * side] = photo
    return canvas


@pytest.mark.parametrize("name", YUNETS)
def test_detections_are_those_of_opencv(
    bundles: dict[str, Bundle], shared: Path, name: str
) -> None:
    width, height = (416, 320) if name.endswith("dynamic") else (640, 640)
    picture = two_faces(shared, width, height)
    file = str(shared / f"data/weights/face_det/{name}.onnx")
    detector = cv2.FaceDetectorYN.create(file, "", (width, height), SCORE, OVERLAP)
    _, expected = detector.detect(picture)
    image = picture.transpose(2, 0, 1)[None].astype(np.float32)
    with mien_engines.open(bundles[name], "ort") as engine:
        outputs = engine.run("detect", input=image)
    strides = bundles[name].spec.properties["strides"]
    assert strides == [8, 16, 32]
    found = decoded(outputs, [8, 16, 32], width)
    assert len(found) == len(expected) >= 2
    order = np.argsort(-expected[:, 14])
    np.testing.assert_allclose(found[:, :14], expected[order, :14], atol=0.05)
    np.testing.assert_allclose(found[:, 14], expected[order, 14], atol=1e-3)


def test_a_detector_of_open_size_takes_batches(
    bundles: dict[str, Bundle], rng: np.random.Generator
) -> None:
    images = (rng.random((3, 3, 96, 160)) * 255).astype(np.float32)
    with mien_engines.open(bundles["yunet_n_dynamic"], "ort") as engine:
        together = engine.run("detect", input=images)
        for i in range(3):
            alone = engine.run("detect", input=images[i : i + 1])
            for name, value in alone.items():
                np.testing.assert_allclose(together[name][i : i + 1], value, atol=1e-4)


def test_landmarks_are_those_of_the_file_in_pixels(
    bundles: dict[str, Bundle], shared: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    portraits = sorted((shared / "data/images/portraits512").glob("*"))[:3]
    crops = np.stack([cv2.resize(cv2.imread(str(p)), (112, 112))[:, :, ::-1] for p in portraits])
    session = ort.InferenceSession(str(shared / "data/weights/face_det/pfld_68.onnx"))
    images = (crops.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    with mien_engines.open(bundles["pfld_68"], "ort") as engine:
        found = engine.run("landmarks", picture=np.ascontiguousarray(crops))["landmarks"]
    np.testing.assert_allclose(found, expected.reshape(3, 68, 2) * 112, atol=1e-3)
    eyes = [found[:, 36:42].mean(1), found[:, 42:48].mean(1)]  # as the picture shows them
    assert (eyes[0][:, 0] < eyes[1][:, 0]).all()
    assert (found[:, 48:68].mean(1)[:, 1] > eyes[0][:, 1]).all(), "a mouth above the eyes"


def test_openvino_agrees_and_tensorrt_builds(bundles: dict[str, Bundle]) -> None:
    pytest.importorskip("openvino")
    for bundle in bundles.values():
        (name,) = bundle.spec.graphs
        feeds = {key.rpartition(".")[2]: value for key, value in bundle.constants.items()}
        with mien_engines.open(bundle, "ov") as one, mien_engines.open(bundle, "ort") as other:
            found, expected = one.run(name, **feeds), other.run(name, **feeds)
        for key, value in expected.items():
            limit = 1e-4 * float(np.ptp(value))
            np.testing.assert_allclose(found[key], value, rtol=0, atol=limit)
        assert_builds(bundle.graph_path(name), side=64)


def tiny(outputs: dict[str, list[int | str]], opset: int = 11) -> onnx.ModelProto:
    """A file with these outputs, each a reshaped mean of the input."""
    nodes = [helper.make_node("GlobalAveragePool", ["input"], ["mean"])]
    tensors = []
    for name in outputs:
        tensors.append(numpy_helper.from_array(np.array([1, -1, 1]), f"{name}.shape"))
        nodes.append(helper.make_node("Reshape", ["mean", f"{name}.shape"], [name]))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph(nodes, "g", [source], values, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


WHOLE: dict[str, list[int | str]] = {
    "cls_8": [1, 16, 1], "obj_8": [1, 16, 1], "bbox_8": [1, 16, 4], "kps_8": [1, 16, 10]
}  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({n: s for n, s in WHOLE.items() if n != "kps_8"}, "expected a YuNet's, four for each"),
        (WHOLE | {"kps_8": [1, 16, 8]}, "output kps_8 has 8 values a cell, expected 10"),
        (WHOLE | {"kps_8": [1, 16]}, "expected float32 of 3 dimensions"),
        (WHOLE | {"mask": [1, 16]}, "expected a YuNet or a PFLD"),
        ({"points": [1, 135]}, "has 135 values, expected x and y"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, outputs: dict[str, list[int | str]], message: str
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny(outputs).SerializeToString())
    with pytest.raises(ArchMismatch, match=message):
        export("faces", path, tmp_path / "b")


def test_a_face_network_takes_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="It takes --landmarks"):
        export("faces", tmp_path / "x.onnx", tmp_path / "b", Extras(vgg=tmp_path / "v"))
