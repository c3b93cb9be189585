"""Look-alikes: the verb against the networks' graphs, bands of likeness, labelled sets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tests.export.examples import run_example
from tests.export.own import LOOK
from tests.export.test_arcface import tiny as recogniser_tensors

import mien_engines
from mien import Studio, provenance
from mien.cli.main import main
from mien.edits.lookalike import BATCH, control_of
from mien.errors import ArchMismatch, InputError
from mien.images import load, save
from mien_engines import Bundle, Engine
from mien_export.export import export

R, CONTROLS = 32, LOOK.control


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    torch.save(recogniser_tensors("mobilefacenet"), folder / "net.pt")
    export("arcface", folder / "net.pt", folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def studio(own_bundles: dict[str, Bundle], judge: Path) -> Iterator[Studio]:
    with Studio(own_bundles["lookalike"].folder, judge, backend="ort") as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(own_bundles: dict[str, Bundle]) -> Iterator[Engine]:
    with mien_engines.open(own_bundles["lookalike"], "ort") as opened:
        yield opened


def a_face(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (R, R, 3), np.uint8)


def near(a: Any, b: Any) -> None:
    """Equal but for rounding to a level."""
    np.testing.assert_array_less(np.abs(np.asarray(a).astype(int) - np.asarray(b)), 2)


@pytest.mark.parametrize("n", [1, 3, BATCH + 8])
def test_each_is_the_face_under_its_own_controls(
    studio: Studio, engine: Engine, rng: np.random.Generator, n: int
) -> None:
    face, told = a_face(rng), []
    found = studio.lookalikes(face, n, seed=5, callback=lambda *done: told.append(done))
    identity = engine.run("encode", picture=face[None])["identity"]
    assert found.faces.shape == (n, R, R, 3)
    for i in {0, n // 2, n - 1}:
        np.testing.assert_array_equal(found.controls[i], control_of(5, i, CONTROLS))
        alone = engine.run("generate", identity=identity, control=found.controls[[i]])
        near(found.faces[i], alone["picture"][0])
    assert (np.abs(found.controls) <= 1).all()
    assert found.numbers.tolist() == list(range(n))
    assert found.cosines is None
    assert told[-1] == (n, n)
    assert len(told) == -(-n // BATCH)


def test_controls_are_a_function_of_seed_and_number() -> None:
    drawn = np.stack([control_of(seed, i, 10) for seed in range(40) for i in range(40)])
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(drawn.var(0), 1 / 3, atol=0.03)


def test_given_controls_are_drawn(studio: Studio, engine: Engine, rng: np.random.Generator) -> None:
    face, controls = a_face(rng), rng.uniform(-2, 2, (BATCH + 3, CONTROLS)).astype(np.float32)
    found = studio.lookalikes(face, control=controls)
    identity = engine.run("encode", picture=face[None])["identity"]
    whole = np.repeat(identity, len(controls), 0)
    near(found.faces, engine.run("generate", identity=whole, control=controls)["picture"])
    one = studio.lookalikes(face, control=controls[4])
    near(one.faces[0], found.faces[4])
    assert (one.numbers.tolist(), len(one)) == ([-1], 1)


def test_a_walk_moves_one_control(studio: Studio, rng: np.random.Generator) -> None:
    face, base = a_face(rng), np.array([0.1, 0.2, 0.3])
    found = studio.lookalike_walk(face, 1, low=-0.5, high=1.5, steps=5, base=base)
    np.testing.assert_allclose(found.controls[:, 1], [-0.5, 0, 0.5, 1, 1.5])
    np.testing.assert_allclose(found.controls[:, [0, 2]], np.tile([0.1, 0.3], (5, 1)), rtol=1e-6)
    near(found.faces, studio.lookalikes(face, control=found.controls).faces)
    middle = studio.lookalike_walk(face, 0, steps=3).controls
    np.testing.assert_array_equal(middle, [[-1, 0, 0], [0, 0, 0], [1, 0, 0]])
    assert len(found.animation().frames) == 5


def cosines(judge: Path, face: np.ndarray, others: np.ndarray) -> np.ndarray:
    """By OpenCV's resampling, whose rounding is coarser than ours, in float32."""
    with mien_engines.open(judge, "ort") as engine:
        rows = []
        for picture in (face, *others):
            large = cv2.resize(picture.astype(np.float32), (256, 256))
            image = large.transpose(2, 0, 1)[None] / 127.5 - 1
            rows.append(engine.run("embed_image", image=image.astype(np.float32))["embedding"][0])
    embedded = np.stack(rows)
    return np.asarray(embedded[1:] @ embedded[0])


def test_cosines_are_those_of_the_judge(
    studio: Studio, judge: Path, rng: np.random.Generator
) -> None:
    face = a_face(rng)
    found = studio.lookalikes(face, 3, seed=1, cosines=True)
    np.testing.assert_allclose(found.cosines, cosines(judge, face, found.faces), atol=1e-3)


def test_a_band_keeps_those_within_it_in_their_order(
    studio: Studio, rng: np.random.Generator
) -> None:
    face = a_face(rng)
    every = studio.lookalikes(face, 3 * BATCH, seed=2, cosines=True)
    assert every.cosines is not None
    low, high = (float(x) for x in np.quantile(every.cosines, (0.3, 0.7)))
    inside = np.flatnonzero((every.cosines >= low) & (every.cosines <= high))
    n = BATCH
    found = studio.lookalikes(face, n, seed=2, between=(low, high))
    assert found.numbers.tolist() == inside[:n].tolist()
    np.testing.assert_array_equal(found.controls, every.controls[inside[:n]])
    near(found.faces, every.faces[inside[:n]])


def test_a_band_without_faces_says_where_they_are(studio: Studio, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"0 of 50 .* in -1 to -0\.999") as e:
        studio.lookalikes(a_face(rng), 1, between=(-1, -0.999))
    assert "widen the band" in str(e.value.hint)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n": 0}, "n is 0, expected 1 to"),
        ({"n": 10**7}, "n is 10000000"),
        ({"seed": -1}, "seed is -1"),
        ({"between": (0.5, 0.5)}, "between is 0.5 to 0.5"),
        ({"between": (0.2, 1.5)}, "expected cosines"),
        ({"between": (float("nan"), 1.0)}, "between is nan"),
        (
            {"n": None, "control": np.zeros(4)},
            r"the controls have shape \(1, 4\), expected \[N, 3\]",
        ),
        ({"n": None, "control": np.full(3, np.nan)}, "all finite"),
        ({"n": None, "control": np.zeros(3), "between": (0.1, 0.2)}, "n or a band, which are"),
        ({"control": np.zeros(3)}, "1 controls were given, and n"),
        ({"face": np.zeros((5, 6, 3), np.uint8)}, "the face is 6 x 5 px"),
    ],
)
def test_what_cannot_be_drawn_is_said(studio: Studio, changes: dict[str, Any], match: str) -> None:
    given = {"face": np.zeros((R, R, 3), np.uint8), "n": 2} | changes
    with pytest.raises(InputError, match=match):
        studio.lookalikes(**given)


@pytest.mark.parametrize(
    ("index", "changes", "match"),
    [
        (3, {}, "control 3 does not exist"),
        (-1, {}, "control -1 does not exist"),
        (0, {"steps": 0}, "0 steps"),
        (0, {"high": float("inf")}, "to inf"),
        (0, {"base": np.zeros(2)}, r"\(1, 2\)"),
    ],
)
def test_a_walk_that_cannot_be_is_refused(
    studio: Studio, index: int, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        studio.lookalike_walk(np.zeros((R, R, 3), np.uint8), index, **changes)


def test_without_a_judge_the_error_says_how_to_make_one(
    own_bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.networks.BUILT_IN", tmp_path / "none")
    face = np.zeros((R, R, 3), np.uint8)
    with Studio(own_bundles["lookalike"].folder, backend="ort") as studio:
        assert len(studio.lookalikes(face, 2)) == 2
        for call in (
            lambda: studio.lookalikes(face, 2, cosines=True),
            lambda: studio.lookalikes(face, 2, between=(0.1, 0.9)),
            lambda: studio.lookalike_set({"a": face}, 2, tmp_path / "set"),
        ):
            with pytest.raises(ArchMismatch, match="mien export arcface"):
                call()
        assert not list(tmp_path.iterdir())
        labels = studio.lookalike_set({"a": face}, 2, tmp_path / "set", cosines=False)
        assert "cosine" not in labels.read_text()


def test_without_a_bundle_the_error_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.networks.BUILT_IN", tmp_path)
    with Studio() as studio, pytest.raises(ArchMismatch, match="mien export lookalike"):
        studio.lookalikes(np.zeros((R, R, 3), np.uint8))


def test_a_sheet_has_rows(studio: Studio, rng: np.random.Generator) -> None:
    found = studio.lookalikes(a_face(rng), 5)
    sheet = found.sheet(3)
    assert sheet.size == (3 * R, 2 * R)
    np.testing.assert_array_equal(sheet.array[R:, R : 2 * R], found.faces[4])
    assert len(np.unique(sheet.array[R:, 2 * R :])) == 1
    assert found.sheet(8).size == (5 * R, R)
    with pytest.raises(InputError, match="0 columns"):
        found.sheet(0)


def people(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: a_face(rng) for name in ("anna", "mark", "eva.2")}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_set_is_labelled(studio: Studio, rng: np.random.Generator, tmp_path: Path) -> None:
    faces = people(rng)
    labels = studio.lookalike_set(faces, 3, tmp_path / "set", seed=7)
    rows = list(csv.DictReader(labels.read_text().splitlines()))
    assert [row["person"] for row in rows] == [name for name in faces for _ in range(3)]
    for i, (name, face) in enumerate(faces.items()):
        wanted = studio.lookalikes(face, 3, seed=7 + i, cosines=True)
        assert wanted.cosines is not None
        for j, row in enumerate(rows[3 * i : 3 * i + 3]):
            assert (row["file"], row["seed"]) == (f"{name}/{j:05d}.png", str(7 + i))
            assert int(row["number"]) == j
            near(load(labels.parent / row["file"]), wanted.faces[j])
            controls = [np.float32(row[f"control_{c}"]) for c in range(CONTROLS)]
            np.testing.assert_array_equal(controls, wanted.controls[j])
            assert abs(float(row["cosine"]) - float(wanted.cosines[j])) < 1e-4
    stated = provenance.read(labels.parent / "mark" / "00001.png")
    assert stated is not None
    assert (stated.edits, stated.sources) == (("lookalike",), (provenance.digest(faces["mark"]),))


class BrokenOff(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4, 5])
def test_a_set_that_was_broken_off_goes_on_to_the_same_bytes(
    studio: Studio, rng: np.random.Generator, tmp_path: Path, after: int
) -> None:
    faces, n, told = people(rng), BATCH + 2, list[int]()

    def break_off(done: int, _: int) -> None:
        told.append(done)
        if len(told) == after:
            raise BrokenOff

    whole = studio.lookalike_set(faces, n, tmp_path / "whole", seed=3).parent
    folder = tmp_path / "part"
    with pytest.raises(BrokenOff):
        studio.lookalike_set(faces, n, folder, seed=3, callback=break_off)
    assert not (folder / "labels.csv").exists()
    assert not list(folder.glob(".*"))
    # What a killed process leaves: half a person, which must not be taken for a whole one.
    (folder / ".eva.2.part").mkdir()
    (folder / ".eva.2.part" / "00000.png").write_bytes(b"half")
    told.clear()
    studio.lookalike_set(faces, n, folder, seed=3, callback=lambda done, _: told.append(done))
    assert contents(folder) == contents(whole)
    assert told[0] > n * ((after - 1) // 2)  # persons that were whole are not drawn again
    assert told[-1] == 3 * n


def test_a_folder_of_something_else_is_refused(
    studio: Studio, rng: np.random.Generator, tmp_path: Path
) -> None:
    face = {"anna": a_face(rng)}
    folder = studio.lookalike_set(face, 2, tmp_path / "set", seed=1).parent
    before = contents(folder)
    for changes in ({"n": 3}, {"seed": 2}, {"cosines": False}, {"mark": False}):
        with pytest.raises(InputError, match="holds another set"):
            studio.lookalike_set(face, **({"n": 2, "folder": folder, "seed": 1} | changes))  # type: ignore[arg-type]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(InputError, match="not an empty folder"):
            studio.lookalike_set(face, 2, tmp_path / name)
    with pytest.raises(InputError, match="cannot be written"):
        studio.lookalike_set(face, 2, tmp_path / "file" / "set")
    assert contents(folder) == before


def test_a_set_of_which_nothing_was_drawn_gives_way(
    studio: Studio, rng: np.random.Generator, tmp_path: Path
) -> None:
    faces = {"anna": a_face(rng)}
    with pytest.raises(InputError, match="widen the band"):
        studio.lookalike_set(faces, 2, tmp_path / "set", between=(0.99999, 1.0))
    after = studio.lookalike_set(faces, 2, tmp_path / "set", between=(-1.0, 1.0)).parent
    fresh = studio.lookalike_set(faces, 2, tmp_path / "fresh", between=(-1.0, 1.0)).parent
    assert contents(after) == contents(fresh)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "labels.csv", "SET.json", "ü"])
def test_names_that_are_no_folders_are_refused(studio: Studio, name: str, tmp_path: Path) -> None:
    face = np.zeros((R, R, 3), np.uint8)
    with pytest.raises(InputError, match="cannot name a folder"):
        studio.lookalike_set({name: face}, 2, tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_set_of_nobody_and_names_that_differ_by_capitals_are_refused(
    studio: Studio, tmp_path: Path
) -> None:
    face = np.zeros((R, R, 3), np.uint8)
    for faces, match in (({}, "no face was given"), ({"a": face, "A": face}, "by capitals")):
        with pytest.raises(InputError, match=match):
            studio.lookalike_set(faces, 2, tmp_path / "set")
    with pytest.raises(InputError, match="face a is 4 x 3 px"):
        studio.lookalike_set({"a": face[:3, :4]}, 2, tmp_path / "set")


def test_the_command_line_draws_sheets_walks_and_sets(
    studio: Studio,
    own_bundles: dict[str, Bundle],
    judge: Path,
    rng: np.random.Generator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    faces = [a_face(rng), a_face(rng)]
    files = [str(save(x, tmp_path / f"{i}.png")) for i, x in enumerate(faces)]
    common = ["--aligned", "--bundle", str(own_bundles["lookalike"].folder), "--backend", "ort"]
    common += ["--bundle", str(judge)]

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["lookalikes", *arguments, *common, "--json"]) == 0
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        return record

    output = tmp_path / "sheet.png"
    said = run(files[0], "-n", "5", "--seed", "3", "--columns", "3", "-o", str(output))
    wanted = studio.lookalikes(faces[0], 5, seed=3)
    np.testing.assert_array_equal(load(output), wanted.sheet(3).array)
    np.testing.assert_allclose(said["controls"], wanted.controls)
    assert "cosines" not in said
    said = run(files[0], "-n", "2", "--between", "-1:1", "-o", str(output))
    assert len(said["cosines"]) == 2
    run(files[0], "--walk", "2", "-n", "4", "-o", str(tmp_path / "walk.gif"))
    with Image.open(tmp_path / "walk.gif") as animation:
        assert getattr(animation, "n_frames", 0) == 4
    run(files[0], "--walk", "2", "-n", "4", "-o", str(output))
    np.testing.assert_array_equal(
        load(output), studio.lookalike_walk(faces[0], 2, steps=4).sheet().array
    )
    said = run(*files, "-n", "3", "-o", str(tmp_path / "set"))
    assert Path(said["labels"]).read_text().count("\n") == 7
    assert (tmp_path / "set" / "1" / "00002.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["0.png", "1.png", "-o", "sheet.png"], "Name one, or a folder"),
        (["0.png", "-o", "walk.gif"], "Add --walk 0"),
        (["0.png", "-o", "walk", "--walk", "0"], "not named as a picture"),
        (["0.png", "-o", "o.png", "--between", "0.5"], "Type two cosines"),
        (["0.png", "-o", "o.png", "--between", "0:1", "--walk", "0"], "Leave one of them out"),
        (["0.png", "0.png", "-o", "set"], "two photographs have one name"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    own_bundles: dict[str, Bundle],
    arguments: list[str],
    text: str,
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(a_face(rng), tmp_path / "0.png")
    monkeypatch.chdir(tmp_path)
    common = ["--aligned", "--bundle", str(own_bundles["lookalike"].folder), "--backend", "ort"]
    assert main(["lookalikes", *arguments, *common]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


@pytest.mark.parametrize("judged", [True, False])
def test_the_example_runs(
    own_bundles: dict[str, Bundle],
    judge: Path,
    judged: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundles = [own_bundles["lookalike"].folder, *([judge] if judged else [])]
    written = run_example("13_lookalikes", bundles, tmp_path, monkeypatch)
    assert written == ["lookalikes.png", "set", "walk.gif"]
    assert (tmp_path / "set" / "mark" / "00003.png").is_file()
