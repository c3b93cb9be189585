"""Canvases whose faces' places are known, and the figures that are measured on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien_export.nets.face_detector import STRIDES, FaceDetector, FaceDetectorConfig
from zoo import composite, detector, landmarks, warps
from zoo.backgrounds import Backgrounds
from zoo.composite import Canvas, Compositor, Face
from zoo.detections import Detections, each_once, found_in, matched, overlaps
from zoo.labels import CROP, MIRRORED_5, MIRRORED_68
from zoo.lighting import Camera
from zoo.split import PORTRAITS, without_portraits

TINY = FaceDetectorConfig(((8,), (8,), (8,), (8,), (8,)), wide=8)


def a_face(size: int = 128) -> Face:
    """A grey square with a white disc at each of its five points."""
    points = np.array([[46.0, 56], [82, 54], [65, 74], [50, 94], [80, 92]]) * size / 128
    y, x = np.indices((size, size)) + 0.5
    picture = np.full((size, size, 3), 60, np.uint8)
    for place in points:
        picture[np.hypot(x - place[0], y - place[1]) < 4 * size / 128] = 250
    return Face(picture, np.array([34.0, 28, 94, 112]) * size / 128, points)


def brightest(picture: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Centre of what is bright within reach of a point."""
    y, x = np.indices(picture.shape[:2]) + 0.5
    weight = np.maximum(picture[:, :, 0].astype(float) - 130, 0)
    weight *= np.hypot(x - near[0], y - near[1]) < reach
    assert weight.sum() > 0, "nothing bright where a point should be"
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("way", ["cut out", "photographed"])
def test_points_go_where_the_picture_goes(way: str, rng: np.random.Generator) -> None:
    for trial in range(8):
        face = a_face()
        face = face.mirrored(MIRRORED_5) if trial % 2 else face
        matrix = composite.taken(face, rng.uniform(110, 146, 2), rng.uniform(40, 160), rng)
        canvas = np.full((256, 256, 3), 60, np.uint8)
        if way == "cut out":
            composite.cut_out(face, matrix, canvas, rng)
        else:
            canvas = composite.photographed(face, matrix, 256, rng)
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        for point in warps.moved(face.points, matrix):
            np.testing.assert_allclose(brightest(canvas, point, 9 * scale), point, atol=0.6)


def test_a_mirror_swaps_left_and_right() -> None:
    for partners in (MIRRORED_5, MIRRORED_68):
        np.testing.assert_array_equal(partners[partners], np.arange(len(partners)))
    mirrored = a_face().mirrored(MIRRORED_5)
    assert mirrored.points[0, 0] < mirrored.points[1, 0], "the left eye is at the right"
    twice = mirrored.mirrored(MIRRORED_5)
    np.testing.assert_allclose(twice.points, a_face().points)
    np.testing.assert_array_equal(twice.picture, a_face().picture)
    np.testing.assert_allclose(twice.box, a_face().box)


def test_a_turned_box_surrounds_the_turned_ellipse(rng: np.random.Generator) -> None:
    box = np.array([10.0, 20, 50, 90])
    matrix = np.column_stack([rng.normal(0, 1, (2, 2)), rng.normal(0, 9, 2)])
    angle = np.linspace(0, 2 * np.pi, 20_000)
    ellipse = np.stack([30 + 20 * np.cos(angle), 55 + 35 * np.sin(angle)], 1)
    seen = warps.moved(ellipse, matrix)
    expected = np.concatenate([seen.min(0), seen.max(0)])
    np.testing.assert_allclose(warps.turned_box(box, matrix), expected, atol=1e-4)


def test_faces_lie_apart_and_inside(rng: np.random.Generator) -> None:
    compositor = Compositor([a_face(), a_face(256)], MIRRORED_5, [], rng)
    canvases = [compositor.draw(160) for _ in range(60)]
    assert {len(canvas.boxes) for canvas in canvases} >= {0, 1, 2, 3}
    for canvas in canvases:
        assert canvas.picture.shape == (160, 160, 3)
        assert canvas.picture.dtype == np.uint8
        for i, box in enumerate(canvas.boxes):
            assert (overlaps(box, np.delete(canvas.boxes, i, 0)) == 0).all()
        small = (canvas.boxes[:, 2:] - canvas.boxes[:, :2]).max(1, initial=0) < composite.LEAST
        assert not (small & canvas.wanted).any()


def perfect(targets: detector.Targets, cells: list[int]) -> list[torch.Tensor]:
    """Raw values that say exactly what the targets ask for, one canvas."""
    rows = torch.full((sum(cells), 16), -12.0)
    rows[:, 2:] = 0
    for i, at in enumerate(targets.index):
        box = targets.boxes[i] / targets.strides[i]
        size = box[2:] - box[:2]
        centre = (box[:2] + box[2:]) / 2
        rows[at, :2] = 12
        rows[at, 2:4] = centre - targets.cells[i]
        rows[at, 4:6] = size.log()
        rows[at, 6:] = ((targets.points[i] / targets.strides[i] - centre) / size).flatten()
    return [part[None] for part in rows.split(cells)]


def test_targets_losses_and_reader_agree(rng: np.random.Generator) -> None:
    compositor = Compositor([a_face()], MIRRORED_5, [], rng)
    canvases = [compositor.draw(192) for _ in range(12)]
    assert sum(len(canvas.boxes) for canvas in canvases) > 10
    for canvas in canvases:
        targets = detector.Targets([canvas])
        raw = perfect(targets, [(192 // s) ** 2 for s in STRIDES])
        parts = detector.losses(raw, targets)
        for name, value in parts.items():
            assert float(value) < 1e-3, name
        net = FaceDetector(TINY)
        net.cells = lambda image, raw=raw: raw  # type: ignore[method-assign]
        outputs = [x[0].numpy() for x in net(torch.zeros(1, 3, 192, 192))]
        found = found_in(outputs, STRIDES, 192)
        figures = matched([found], [canvas])
        if canvas.wanted.any():
            assert figures["found"] == 1
            assert figures["error"] < 0.01
        assert figures["false"] == 0


def test_figures_count_hits_misses_and_false_faces() -> None:
    boxes = np.array([[0.0, 0, 40, 40], [60, 60, 100, 100], [120, 0, 128, 8]])
    points = np.stack([a_face().points] * 3)
    canvas = Canvas(np.zeros((1, 1, 3), np.uint8), boxes, points, np.array([True, True, False]))
    eyes = np.hypot(*(points[0, 1] - points[0, 0]))
    seen = np.array([[1.0, 0, 41, 40], [120, 0, 128, 8], [200, 200, 220, 220]])
    five = np.stack([points[0] + [0.1 * eyes, 0], points[0], points[0]])
    figures = matched([Detections(seen, five, np.ones(3))], [canvas])
    assert figures["found"] == 0.5, "a face that need not be found counts for nothing"
    assert figures["false"] == 1
    assert figures["error"] == pytest.approx(10)


def test_of_two_boxes_on_one_face_the_surer_stays() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    assert each_once(boxes, np.array([0.8, 0.9, 0.7])) == [1, 2]
    np.testing.assert_allclose(overlaps(boxes[0], boxes), [1, 90 / 110, 0])


def test_errors_are_in_units_of_the_eyes_distance() -> None:
    points = torch.zeros(2, 68, 2)
    points[:, 42:48, 0] = 0.5
    torch.testing.assert_close(landmarks.eye_distance(points), torch.full((2,), 0.5))
    off = points + torch.tensor([0.03, 0.04])
    torch.testing.assert_close(landmarks.relative_errors(off, points), torch.full((2,), 0.1))


def test_crops_hold_the_face_as_a_detector_gives_it(rng: np.random.Generator) -> None:
    face = a_face()
    inside = rng.uniform(face.box[:2], face.box[2:], (34, 2))
    many = np.concatenate([inside, face.box[:2] + face.box[2:] - inside])  # about its centre
    crops = landmarks.Crops([Face(face.picture, face.box, many)], [], rng)
    pictures, points = crops.draw(50)
    assert pictures.shape == (50, 112, 112, 3)
    assert points.shape == (50, 68, 2)
    np.testing.assert_allclose(points.mean((0, 1)), 0.5, atol=0.03)
    longest = np.ptp(points, axis=1).max(1).mean()
    np.testing.assert_allclose(longest, 1 / CROP, atol=0.15)


@pytest.mark.parametrize("side", [7, 96])
def test_cameras_and_backgrounds_draw_any_size(side: int, rng: np.random.Generator) -> None:
    painting = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    backgrounds, camera = Backgrounds([painting], [a_face().picture], rng), Camera(rng)
    for _ in range(40):
        drawn = camera.take(backgrounds.draw(side))
        assert drawn.shape == (side, side, 3)
        assert drawn.dtype == np.uint8


def test_the_portraits_are_told_among_the_faces(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.tsv").write_text(
        f"path\tsource\n{PORTRAITS[0]}a.jpg\tsomewhere/a.jpg\t9\nimages/styles/b.jpg\tb.jpg\t9\n"
    )
    kept = without_portraits(tmp_path, ["somewhere/a.jpg", "b.jpg", ""])
    np.testing.assert_array_equal(kept, [False, True, True])
