"""Expressions: the formula, the file, whose generator it is of, and those that come with mien."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import mien
from mien import Expression, express, provenance
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.express import expression_from_codes, strengths_between
from mien.edits.expression import HEADER, load_expression, shipped
from mien.edits.latents import save_code
from mien.errors import ArchMismatch, CorruptFile, InputError
from mien.studio import Studio

needs_demo = pytest.mark.skipif(
    not (BUILT_IN / "demo").exists(), reason="the demo bundle is not built"
)
LAYERS, WIDTH = 7, 5
OWN = ("fear", "happy", "sad")


@pytest.fixture
def smile(rng: np.random.Generator) -> Expression:
    return Expression(
        name="smile",
        direction=rng.standard_normal((LAYERS, WIDTH)).astype(np.float32),
        mask=np.array([False, True, True, False, True, True, False]),
        generator="tiny",
        generator_sha256="ab" * 32,
        sources=("sha256:1", "sha256:2"),
        licence="CC0-1.0",
        note="two\nlines, ünïcode",
    )


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort") as opened:
        yield opened


@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_express_is_the_published_formula(
    rng: np.random.Generator, smile: Expression, strength: float, batch: tuple[int, ...]
) -> None:
    w = rng.standard_normal((*batch, LAYERS, WIDTH)).astype(np.float32)
    found = express(w, smile, strength)
    for i in range(LAYERS):
        expected = w[..., i, :] + strength * float(smile.mask[i]) * smile.direction[i]
        np.testing.assert_allclose(found[..., i, :], expected, rtol=1e-6, atol=1e-6)
        if not smile.mask[i]:
            np.testing.assert_array_equal(found[..., i, :], w[..., i, :])
    np.testing.assert_array_equal(express(w, smile, 0.0), w)


def test_layers_may_replace_the_mask(rng: np.random.Generator, smile: Expression) -> None:
    w = rng.standard_normal((LAYERS, WIDTH)).astype(np.float32)
    found = express(w, smile, layers="0,3")
    changed = np.abs(found - w).max(1) > 0
    np.testing.assert_array_equal(changed, np.isin(np.arange(LAYERS), [0, 3]))


def test_pairs_are_averaged_and_layer_0_is_off(rng: np.random.Generator) -> None:
    neutral, happy = rng.standard_normal((2, 3, LAYERS, WIDTH)).astype(np.float32)
    found = expression_from_codes(list(neutral), list(happy), name="happy")
    expected = sum(h.astype(np.float64) - n for n, h in zip(neutral, happy, strict=True)) / 3
    np.testing.assert_allclose(found.direction, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.mask, [False] + [True] * (LAYERS - 1))
    # The person who was photographed becomes happy to the bit of rounding.
    only = expression_from_codes([neutral[0]], [happy[0]], name="happy", layers="all")
    np.testing.assert_allclose(express(neutral[0], only), happy[0], rtol=1e-5, atol=1e-6)


def test_an_expression_survives_its_file(tmp_path: Path, smile: Expression) -> None:
    path = smile.save(tmp_path / "smile.safetensors")
    found = load_expression(path)
    np.testing.assert_array_equal(found.direction, smile.direction)
    np.testing.assert_array_equal(found.mask, smile.mask)
    assert found.record() == smile.record()
    assert [p.name for p in tmp_path.iterdir()] == ["smile.safetensors"]
    np.testing.assert_array_equal(mien.move(np.zeros((7, 5)), found.direction), smile.direction)


def test_another_generators_expression_is_refused_by_its_shape(smile: Expression) -> None:
    with pytest.raises(ArchMismatch, match=r"\(7, 5\), the code \(12, 5\)"):
        express(np.zeros((12, 5)), smile)


def test_files_that_hold_no_expression_are_refused(tmp_path: Path, smile: Expression) -> None:
    tensors = {"direction": smile.direction, "mask": smile.mask.astype(np.uint8)}
    record = {"version": 1, **smile.record()}
    cases = {
        "bare": (tensors, {}),
        "version": (tensors, {HEADER: json.dumps({**record, "version": 2})}),
        "json": (tensors, {HEADER: "{"}),
        "nested": (tensors, {HEADER: "[" * 100_000}),
        "list": (tensors, {HEADER: "[1]"}),
        "name": (tensors, {HEADER: json.dumps({**record, "name": "a\x1b[2J"})}),
        "mask": ({**tensors, "mask": np.ones(6, np.uint8)}, {HEADER: json.dumps(record)}),
        "missing": ({"mask": tensors["mask"]}, {HEADER: json.dumps(record)}),
        "nan": ({**tensors, "direction": np.full((7, 5), np.nan)}, {HEADER: json.dumps(record)}),
    }
    for name, (content, metadata) in cases.items():
        save_file(content, tmp_path / f"{name}.safetensors", metadata)
        with pytest.raises(CorruptFile, match=f"{name}.safetensors is not an expression"):
            load_expression(tmp_path / f"{name}.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 20)
    for name in ("a.safetensors", "none.safetensors"):
        with pytest.raises(CorruptFile):
            load_expression(tmp_path / name)


def test_wrong_expressions_say_what_was_expected(tmp_path: Path, smile: Expression) -> None:
    with pytest.raises(InputError, match=r"no expression 'hapy'"):
        load_expression("hapy")
    with pytest.raises(InputError, match=r"no expression '\.\./happy'"):
        load_expression("../happy")
    with pytest.raises(InputError, match=r"expected bool \[7\]"):
        replace(smile, mask=np.ones(7))
    with pytest.raises(InputError, match=r"FILE\.safetensors"):
        smile.save(tmp_path / "smile.npy")
    with pytest.raises(InputError, match="cannot be written"):
        smile.save(tmp_path / "no folder" / "a.safetensors")
    with pytest.raises(InputError, match="1 neutral and 2 emotional"):
        expression_from_codes([np.zeros((7, 5))], [np.zeros((7, 5))] * 2, name="a")
    with pytest.raises(InputError, match="0 neutral"):
        expression_from_codes([], [], name="a")
    with pytest.raises(InputError, match="different shapes"):
        expression_from_codes([np.zeros((7, 5))], [np.zeros((6, 5))], name="a")
    for frames, high in ((1, 1.0), (1001, 1.0), (3, float("nan"))):
        with pytest.raises(InputError, match="expected 2 to 1000"):
            strengths_between(0, high, frames)


def test_an_animation_goes_there_and_back_without_a_jump() -> None:
    steps = strengths_between(-0.5, 1.5, 6)
    assert (len(steps), min(steps), max(steps)) == (10, -0.5, 1.5)
    around = np.array([*steps, steps[0]])
    np.testing.assert_allclose(np.diff(around)[:5], -np.diff(around)[:4:-1], atol=1e-12)
    assert steps.count(-0.5) == steps.count(1.5) == 1


@needs_demo
def test_those_that_come_with_mien_are_of_the_demos_generator(studio: Studio) -> None:
    assert shipped() == list(OWN)
    for name in OWN:
        found = load_expression(name)
        found.check(studio.engine.bundle)
        assert found.name == name
        assert found.licence == "Apache-2.0"
        assert found.sources
        assert found.note
        assert not found.mask[0]


@needs_demo
def test_another_generators_expression_is_refused_by_its_hash(studio: Studio) -> None:
    code, happy = studio.sample(1), load_expression("happy")
    with pytest.raises(ArchMismatch, match="is of generator other"):
        studio.express(code, replace(happy, generator="other", generator_sha256="0" * 64))
    unknown = replace(happy, generator="", generator_sha256="")
    np.testing.assert_array_equal(
        studio.express(code, unknown).array, studio.express(code, happy).array
    )


@needs_demo
def test_expressions_change_the_face_more_than_what_is_around_it(studio: Studio) -> None:
    for name in OWN:
        inside, outside = [], []
        for seed in (41, 42, 43):
            code = studio.sample(seed)
            frames = studio.animate(code, name, (0.0, 1.0)).frames.astype(int)
            change = np.abs(frames[1] - frames[0]).mean(-1)
            inside.append(change[48:112, 32:96].mean())
            outside.append(change[:32].mean())
        assert np.mean(inside) > 1.5 * np.mean(outside), name
        assert np.mean(inside) > 3, name


@needs_demo
def test_the_landmarks_of_a_smile_are_those_of_a_smile(studio: Studio, shared: Path) -> None:
    """PFLD found the directions, on other faces than these."""
    import cv2

    network = cv2.dnn.readNetFromONNX(
        str(shared / "data" / "weights" / "face_det" / "pfld_68.onnx")
    )

    def corners(picture: np.ndarray) -> tuple[float, float, float]:
        """Lift of the mouth's corners, its width, the opening of the eyes; in eye distances."""
        face = cv2.resize(picture[24:124, 14:114], (112, 112), interpolation=cv2.INTER_CUBIC)
        network.setInput(face.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        marks = network.forward().reshape(68, 2)
        distance = np.linalg.norm(marks[36:42].mean(0) - marks[42:48].mean(0))
        y = marks[:, 1] / distance
        lift = (y[51] + y[57] - y[48] - y[54]) / 2
        width = np.linalg.norm(marks[54] - marks[48]) / distance
        eyes = (y[40] + y[41] - y[37] - y[38] + y[46] + y[47] - y[43] - y[44]) / 4
        return float(lift), float(width), float(eyes)

    seen = {}
    for name in OWN:
        pairs = [studio.animate(studio.sample(s), name, (1, 0)).frames for s in range(41, 49)]
        seen[name] = np.mean([np.subtract(corners(on), corners(off)) for on, off in pairs], 0)
    assert seen["happy"][0] > 0.02
    assert seen["happy"][1] > 0.05
    assert seen["sad"][0] < -0.02
    assert seen["fear"][2] > 0.005


@needs_demo
@pytest.mark.slow
def test_an_expression_of_photographs_is_that_of_their_codes(
    studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neutral = studio.sample(5)
    files = [tmp_path / "n.png", tmp_path / "h.png"]
    studio.render(neutral).save(files[0])
    studio.express(neutral, "happy").save(files[1])
    output = tmp_path / "mine.safetensors"
    arguments = ["--neutral", str(files[0]), "--with", str(files[1]), "-o", str(output)]
    assert main(["make-expression", *arguments, "--aligned", "--steps", "30", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    made = load_expression(output)
    assert record["sources"] == list(made.sources) == [provenance.digest(f) for f in files]
    made.check(studio.engine.bundle)
    wanted = studio.express(neutral, "happy").array[85:115, 40:90].astype(int)
    before = studio.render(neutral).array[85:115, 40:90].astype(int)
    after = studio.express(neutral, made).array[85:115, 40:90].astype(int)
    assert np.abs(after - wanted).mean() < 0.7 * np.abs(before - wanted).mean()


@needs_demo
def test_codes_make_an_expression_without_projecting(studio: Studio, tmp_path: Path) -> None:
    codes = [save_code(studio.sample(s), tmp_path / f"{s}.npy") for s in (1, 2, 3, 4)]
    output = tmp_path / "odd.safetensors"
    pairs = ["--neutral", "--neutral", "--with", "--with"]
    arguments = [text for pair in zip(pairs, map(str, codes), strict=True) for text in pair]
    assert main(["make-expression", *arguments, "-o", str(output), "--layers", "4-8px"]) == 0
    made = load_expression(output)
    np.testing.assert_array_equal(made.mask.nonzero()[0], [0, 1, 2])
    expected = (studio.sample(3) - studio.sample(1) + studio.sample(4) - studio.sample(2)) / 2
    np.testing.assert_allclose(made.direction, expected, rtol=1e-5, atol=1e-5)
    faces = [studio.render(studio.sample(1))] * 2
    quick = mien.ProjectionSettings(steps=1)
    same = studio.make_expression(faces[:1], faces[1:], name="nothing", settings=quick)
    np.testing.assert_allclose(same.direction, 0, atol=1e-4)
    assert same.sources[0] == same.sources[1]


@needs_demo
def test_the_command_line_expresses_and_animates(studio: Studio, tmp_path: Path) -> None:
    code = str(save_code(studio.sample(1), tmp_path / "a.npy"))
    still, moving, kept = (tmp_path / name for name in ("a.png", "a.gif", "happy.npy"))
    arguments = ["--strength", "0.5", "--layers", "1-6", "--code", str(kept)]
    assert main(["express", code, "happy", "-o", str(still), *arguments]) == 0
    assert main(
        ["express", code, "sad", "-o", str(moving), "--animate", "0:1.5", "--frames", "3", "--json"]
    ) == 0  # fmt: skip
    with Image.open(moving) as opened:
        assert opened.n_frames == 4  # type: ignore[attr-defined]
    expected = express(studio.sample(1), "happy", 0.5, layers="1-6")
    np.testing.assert_array_equal(np.load(kept), expected)
    said = provenance.read(still)
    assert said is not None
    assert said.edits == ("express happy 0.5",)
    assert said.sources == (provenance.digest(studio.sample(1)[None]),)
    assert main(["express", code, "sad", "-o", str(still), "--no-mark"]) == 0
    assert provenance.read(still) is None


@needs_demo
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["express", "A", "hapy", "-o", "a.png"], "fear, happy, sad"),
        (["express", "A", "happy", "-o", "a.png", "--animate", "0:1"], "Name it .gif, .webp"),
        (["express", "A", "happy", "-o", "a.gif", "--animate", "0-1"], "Type two strengths: 0:1.5"),
        (["express", "A", "happy", "-o", "a.gif", "--animate", "0:x"], "Type two strengths: 0:1.5"),
        (["express", "A", "happy", "-o", "a.gif"], "a.gif: pictures are not written as .gif"),
        (["move", "A", "none.npy", "-o", "a.png"], "none.npy"),
        (["move", "A", "A", "-o", "a.png", "--layers", "9-99"], "layer 12 does not exist"),
        (["mix", "A", "A", "-o", "a.png", "--psi", "0,x"], "--psi '0,x' is not a number"),
        (["mix", "A", "A", "-o", "a.png", "--psi", "0,1"], "12 of them"),
        (["table", "--rows", "1", "--columns", "b.npy", "-o", "a.png"], "b.npy"),
        (["make-expression", "--neutral", "A", "--with", "A", "-o", "a.npy"], "FILE.safetensors"),
    ],
)
def test_wrong_arguments_are_one_line(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code = str(save_code(studio.sample(1), tmp_path / "code.npy"))
    assert main([code if word == "A" else word for word in arguments]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["code.npy"]
