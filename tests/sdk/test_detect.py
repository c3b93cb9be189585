"""Who finds faces, which of them is meant, and the verbs that cut them out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.sdk.tiny_faces import BOX, CELL, TEMPLATE, faces_bundle, five_points, red_on_grey

from mien import bundles
from mien.bundles import BUILT_IN, built_in
from mien.cli.main import main
from mien.errors import AmbiguousFace, ArchMismatch, CorruptFile, InputError, NoFace
from mien.faces.align import align
from mien.faces.bundled import told_apart
from mien.faces.detect import DetectedFace, Detector, choose, open_detector
from mien.faces.landmarks import Landmarks
from mien.images import load, save
from mien.studio import Studio

CELLS = [(25, 12), (6, 10), (16, 20)]  # column and row; from left to right 1, 2, 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faces_bundle(tmp_path_factory.mktemp("tiny") / "faces")


@pytest.fixture
def studio(tiny: Path) -> Iterator[Studio]:
    if "demo" not in built_in():
        pytest.skip("the demo bundle is not built")
    with Studio("demo", backend="ort", detector=tiny) as opened:
        yield opened


def test_a_bundle_finds_faces_from_left_to_right(tiny: Path) -> None:
    faces = open_detector(tiny).detect(red_on_grey(CELLS))
    assert len(faces) == 3
    for face, (column, row) in zip(faces, [CELLS[1], CELLS[2], CELLS[0]], strict=True):
        corner = np.array([column + 0.5, row + 0.5]) * CELL - BOX / 2
        np.testing.assert_allclose(face.box, [*corner, BOX, BOX], atol=1e-3)
        np.testing.assert_allclose(face.landmarks.points, five_points(column, row), atol=1e-3)
        assert face.score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("colour", ["BGR", "RGB"])
@pytest.mark.parametrize(
    ("fixed", "scale"), [(None, 1), ((96, 128), 1), ((96, 128), 3), ((240, 320), 1)]
)
def test_points_are_in_px_of_the_photograph_whatever_the_graph_takes(
    tmp_path: Path, fixed: tuple[int, int] | None, scale: int, colour: str
) -> None:
    small = red_on_grey([(6, 4)], width=127, height=90)  # no multiple of a stride
    photo = np.repeat(np.repeat(small, scale, 0), scale, 1)
    detector = open_detector(faces_bundle(tmp_path / "b", fixed=fixed, colour=colour))
    (face,) = detector.detect(photo)
    np.testing.assert_allclose(face.landmarks.points, scale * five_points(6, 4), atol=1.5 * scale)


def test_a_large_photograph_is_searched_scaled_down(tiny: Path) -> None:
    photo = np.repeat(np.repeat(red_on_grey([(50, 30)], width=960, height=480), 2, 0), 2, 1)
    (face,) = open_detector(tiny).detect(photo)
    np.testing.assert_allclose(face.landmarks.points, 2 * five_points(50, 30), atol=1e-3)


def test_a_bundle_may_state_to_which_size_that_is(tmp_path: Path) -> None:
    photo = np.repeat(np.repeat(red_on_grey([(20, 15)], width=480, height=240), 2, 0), 2, 1)
    (face,) = open_detector(faces_bundle(tmp_path / "b", longest=480)).detect(photo)
    np.testing.assert_allclose(face.landmarks.points, 2 * five_points(20, 15), atol=1e-3)
    with pytest.raises(ArchMismatch, match="states a longest side of 0, expected px"):
        open_detector(faces_bundle(tmp_path / "c", longest=0))


def test_overlapping_boxes_are_one_face(tiny: Path) -> None:
    photo = red_on_grey([(10, 10)])
    photo[80:88, 88:96] = (230, 0, 0)  # the next cell, a little less sure
    (face,) = open_detector(tiny).detect(photo)
    np.testing.assert_allclose(face.landmarks.points, five_points(10, 10), atol=1e-3)


def test_boxes_are_told_apart_as_opencv_does(rng: np.random.Generator) -> None:
    rows = np.zeros((200, 15))
    rows[:, :2], rows[:, 2:4] = rng.uniform(0, 100, (200, 2)), rng.uniform(5, 40, (200, 2))
    rows[:, 14] = rng.permutation(200) / 200
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, 0.3)
    np.testing.assert_array_equal(told_apart(rows), rows[np.asarray(kept).ravel()])
    assert told_apart(rows[:0]).shape == (0, 15)


def test_the_closer_look_gives_points_in_px_of_the_photograph(tmp_path: Path) -> None:
    detector = open_detector(faces_bundle(tmp_path / "b", landmarks=True))
    cells = [(6, 10), (16, 20), (39, 0)]  # the last one's square reaches beyond the photograph
    for face, cell in zip(detector.detect(red_on_grey(cells)), cells, strict=True):
        side = round(1.2 * BOX)
        expected = (np.array(cell) + 0.5) * CELL + TEMPLATE * side / 16
        np.testing.assert_allclose(face.landmarks.points, expected, atol=0.5)


def test_no_face_names_the_size_and_the_best_guess_and_the_next_photo_goes_on(tiny: Path) -> None:
    detector = open_detector(tiny)
    with pytest.raises(NoFace, match=r"320 x 240 px; the best guess scores 0\.6\d, 0\.7 is enough"):
        detector.detect(red_on_grey([(6, 10)], red=110))
    with pytest.raises(NoFace, match=r"320 x 240 px\. Give landmarks"):
        detector.detect(red_on_grey([]))
    assert len(detector.detect(red_on_grey([(6, 10)]))) == 1


def test_threads_share_a_detector(tiny: Path) -> None:
    detector = open_detector(tiny)
    photos = [red_on_grey([(c, 10)], width=8 * (c + 10)) for c in range(4, 20)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.detect, photos))
    for column, (face,) in zip(range(4, 20), found, strict=True):
        np.testing.assert_allclose(face.landmarks.points, five_points(column, 10), atol=1e-3)


def test_bundles_that_find_no_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchMismatch, match=r"of family other and has the graphs detect"):
        open_detector(faces_bundle(tmp_path / "a", family="other"))
    with pytest.raises(ArchMismatch, match="does not state its strides"):
        open_detector(faces_bundle(tmp_path / "b", strides=()))


def test_a_zip_of_a_bundle_will_do(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "cache"))
    path = Path(shutil.make_archive(str(tmp_path / "faces"), "zip", tiny.parent, tiny.name))
    assert len(open_detector(path).detect(red_on_grey(CELLS))) == 3


# YuNet files.


def test_a_file_finds_the_face_or_says_that_there_is_none(shared: Path) -> None:
    detector = open_detector(shared / "data/weights/face_det/yunet_n_dynamic.onnx")
    photo = load(shared / "data/images/portraits1024/p02_front.jpg")
    face = choose(detector.detect(photo), "only")
    left, right = face.landmarks.anchors().eye_left, face.landmarks.anchors().eye_right
    assert 0.25 * 1024 < left[0] < right[0] < 0.75 * 1024
    with pytest.raises(NoFace, match="200 x 100"):
        detector.detect(np.full((100, 200, 3), 90, np.uint8))
    detector.close()


def test_a_file_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFile, match="not a YuNet"):
        Detector(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="no detector file"):
        Detector(tmp_path / "missing.onnx")


def test_another_network_is_refused_when_it_is_asked(tiny: Path) -> None:
    detector = Detector(tiny / "detect.onnx")  # it has outputs of one stride, YuNet of three
    with pytest.raises(CorruptFile, match="not a YuNet") as caught:
        detector.detect(red_on_grey(CELLS))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_exported_yunet_finds_what_opencv_finds(shared: Path, tmp_path: Path) -> None:
    export = pytest.importorskip("mien_export.export").export
    file = shared / "data/weights/face_det/yunet_n_dynamic.onnx"
    export("faces", file, tmp_path / "yunet")
    group = np.full((700, 1300, 3), 90, np.uint8)
    for i, path in enumerate(sorted((shared / "data/images/portraits512").glob("*"))[:3]):
        portrait = cv2.resize(load(path), (400 - 60 * i, 400 - 60 * i))
        group[40 * i :, 430 * i :][: portrait.shape[0], : portrait.shape[1]] = portrait
    ours, theirs = open_detector(tmp_path / "yunet").detect(group), Detector(file).detect(group)
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.1)
        np.testing.assert_allclose(one.landmarks.points, other.landmarks.points, atol=0.1)
        assert one.score == pytest.approx(other.score, abs=1e-3)


# Which face is meant. Row I11.


def detected(left: float, size: float) -> DetectedFace:
    return DetectedFace((left, 0.0, size, size), 0.9, Landmarks(five_points(3, 3)))


def test_of_several_faces_one_must_be_named() -> None:
    faces = [detected(0, 10), detected(50, 30)]
    assert choose(faces[:1], "only") is faces[0]
    assert choose(faces, "largest") is faces[1]
    assert choose(faces, 0) is faces[0]
    with pytest.raises(AmbiguousFace, match=r"2 faces.*50 0 30 30"):
        choose(faces, "only")
    with pytest.raises(InputError, match="no face 2"):
        choose(faces, 2)
    with pytest.raises(InputError, match="'all' is not understood"):
        choose(faces, "all")  # type: ignore[arg-type]
    with pytest.raises(NoFace):
        choose([], "largest")


def test_twenty_faces_are_listed_chosen_or_all_taken(studio: Studio) -> None:
    cells = [(6 + 8 * (i % 5), 6 + 8 * (i // 5)) for i in range(20)]
    photo = red_on_grey(cells, width=360, height=280)
    with pytest.raises(AmbiguousFace, match="20 faces") as caught:
        studio.align(photo)
    assert caught.value.message.count(";") == 19
    faces = studio.align_all(photo, size=32)
    assert len(faces) == 20
    lefts = [face.quad[:, 0].mean() for face in faces]
    assert lefts == sorted(lefts)
    chosen = studio.align(photo, which=7, size=32)
    np.testing.assert_array_equal(chosen.quad, faces[7].quad)
    np.testing.assert_array_equal(chosen.image, faces[7].image)


# The studio.


def test_a_studio_cuts_where_the_detector_points(studio: Studio) -> None:
    photo = red_on_grey([(16, 12)])
    face = studio.align(photo)
    expected = align(photo, Landmarks(five_points(16, 12)), size=studio.resolution)
    np.testing.assert_allclose(face.quad, expected.quad, atol=1e-2)
    assert face.size == studio.resolution


def test_landmarks_for_all_keep_their_order(studio: Studio, tmp_path: Path) -> None:
    photo = red_on_grey([])
    points = [Landmarks(five_points(*cell)) for cell in CELLS]
    points[1].save(tmp_path / "b.json")
    faces = studio.align_all(photo, landmarks=[points[0], tmp_path / "b.json", points[2]], size=16)
    for face, given in zip(faces, points, strict=True):
        np.testing.assert_allclose(face.quad, align(photo, given, size=16).quad, atol=1e-9)


def test_a_studio_uses_the_detector_that_came_with_mien_where_there_is_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "demo" not in built_in():
        pytest.skip("the demo bundle is not built")
    photo = red_on_grey([(16, 12)])
    monkeypatch.setattr(bundles, "BUILT_IN", tmp_path)
    (tmp_path / "demo").symlink_to(BUILT_IN / "demo")
    with Studio("demo", backend="ort") as studio:
        with pytest.raises(InputError, match="no landmarks and no detector"):
            studio.align(photo)
        with pytest.raises(InputError, match="no landmarks and no detector"):
            studio.align_all(photo)
    (tmp_path / "faces").symlink_to(tiny)
    with Studio("demo", backend="ort") as studio:
        assert len(studio.align_all(photo)) == 1
    with Studio("demo", backend="ort", detector="faces") as studio:
        assert len(studio.align_all(photo)) == 1
    with Studio("demo", backend="ort", detector=tmp_path / "lost.onnx") as studio:
        with pytest.raises(InputError, match=r"no detector file .*lost\.onnx"):
            studio.align(photo)


# The command line.


@pytest.fixture
def group(tmp_path: Path) -> Path:
    return save(red_on_grey(CELLS), tmp_path / "group.png")


def test_all_faces_are_written_with_their_records(
    tiny: Path, group: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["align", str(group), "-o", str(tmp_path / "face.png"), "--detector", str(tiny)]
    assert main([*asked, "--face", "all", "--size", "48", "--json"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    assert [Path(f["output"]).name for f in faces] == ["face-0.png", "face-1.png", "face-2.png"]
    for face, (column, row) in zip(faces, [CELLS[1], CELLS[2], CELLS[0]], strict=True):
        crop = load(face["output"])
        assert crop.shape == (48, 48, 3)
        expected = align(load(group), Landmarks(five_points(column, row)), size=48)
        np.testing.assert_allclose(face["quad"], expected.quad, atol=1e-2)
        assert Path(face["record"]).is_file()


def test_a_single_face_is_written_with_its_record_and_its_flags(
    tiny: Path, group: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["align", str(group), "-o", str(tmp_path / "face.png"), "--detector", str(tiny)]
    assert main([*asked, "--face", "1", "--size", "512"]) == 0
    said = capsys.readouterr().out
    assert "face.png: 512 px" in said
    assert "small: drawn more than 2 times larger" in said
    assert json.loads((tmp_path / "face.face.json").read_text())["flags"] == ["small"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--face", "only"], "3 faces were found"),
        (["--face", "3"], "there is no face 3: 3 were found"),
        (["--face", "tallest"], "'tallest' is not understood"),
        (["--size", "0"], "size is 0 px"),
    ],
)
def test_what_cannot_be_aligned_is_said_in_one_line(
    tiny: Path, group: Path, tmp_path: Path, arguments: list[str], text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = ["align", str(group), "-o", str(tmp_path / "face.png"), "--detector", str(tiny)]
    given = arguments if "--face" in arguments else [*arguments, "--face", "0"]
    assert main([*asked, *given]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["group.png"]


def test_the_photograph_is_not_written_over(
    group: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = group.read_bytes()
    assert main(["align", str(group), "-o", str(tmp_path / "." / "group.png")]) == 1
    assert "is the photograph itself" in capsys.readouterr().err
    assert group.read_bytes() == before


def test_points_for_one_face_are_one_file(
    group: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = str(Landmarks(five_points(5, 5)).save(tmp_path / "a.json"))
    two = ["--landmarks", points, "--landmarks", points]
    assert main(["align", str(group), "-o", str(tmp_path / "f.png"), *two]) == 1
    assert "2 landmark files were given" in capsys.readouterr().err
    assert main(["align", str(group), "-o", str(tmp_path / "f.png"), *two, "--face", "all"]) == 0
    assert (tmp_path / "f-1.png").is_file()
