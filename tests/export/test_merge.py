"""Merging faces: the verb against NumPy, one pass against the chain, sheets, the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.export.examples import run_example

import mien_engines
from mien import Studio, provenance
from mien.cli.main import main
from mien.edits.merge import block_px, block_weights
from mien.errors import ArchMismatch, InputError
from mien.images import load, save
from mien_engines import Bundle, Engine

R, BLOCKS = 32, 4


@pytest.fixture(scope="module")
def bundle(own_bundles: dict[str, Bundle]) -> Bundle:
    return own_bundles["vaegan"]


@pytest.fixture(scope="module")
def studio(bundle: Bundle) -> Iterator[Studio]:
    with Studio(bundle.folder, backend="ort") as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    with mien_engines.open(bundle, "ort") as opened:
        yield opened


def faces(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, R, R, 3), np.uint8)


def plainly(content: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Codes [N, D] by the formula of systems' reading, in float64."""
    z, s = content.astype(float), pattern.astype(float)
    deviations = [np.sqrt(x.var(1, keepdims=True) + 1e-5) for x in (z, s)]
    normal = (z - z.mean(1, keepdims=True)) / deviations[0]
    return deviations[1] * normal + s.mean(1, keepdims=True)


def near(a: Any, b: Any) -> None:
    """Equal but for rounding to a level."""
    np.testing.assert_array_less(np.abs(np.asarray(a).astype(int) - np.asarray(b)), 2)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("graph", ["merge", "merge_plain"])
def test_one_pass_is_the_chain_of_its_parts(
    engine: Engine, rng: np.random.Generator, graph: str, batch: int
) -> None:
    a, b = faces(rng, batch), faces(rng, batch)
    weight = np.array([0, 1, 0.5, 1], np.float32)
    fused = engine.run(graph, content=a, pattern=b, weight=weight)
    mu = [engine.run("encode", picture=x)["mu"] for x in (a, b)]
    chain = engine.run(f"{graph}_codes", content_mu=mu[0], pattern_mu=mu[1], weight=weight)
    drawn = engine.run("generate", codes=chain["codes"])
    np.testing.assert_allclose(fused["codes"], chain["codes"], rtol=0, atol=1e-5)
    for found in (chain["picture"], drawn["picture"]):
        near(fused["picture"], found)


def test_a_plain_merge_is_its_formula(
    studio: Studio, engine: Engine, rng: np.random.Generator
) -> None:
    a, b = faces(rng, 1), faces(rng, 1)
    own, other = (engine.run("encode", picture=x)["mu"] for x in (a, b))
    codes = np.repeat(own[:, None].astype(float), BLOCKS, 1)
    codes[:, 2:] += 0.75 * (plainly(own, other) - own)[:, None]
    drawn = engine.run("generate", codes=codes.astype(np.float32))["picture"][0]
    found = studio.merge(a[0], b[0], strength=0.75, blocks="middle", learned=False)
    near(found, drawn)
    assert found.edits == ("merge",)
    assert found.sources == tuple(map(provenance.digest, (a[0], b[0])))


def test_without_strength_the_content_is_drawn_again(
    studio: Studio, engine: Engine, rng: np.random.Generator
) -> None:
    a, b = faces(rng, 2)
    codes = np.repeat(engine.run("encode", picture=a[None])["mu"][:, None], BLOCKS, 1)
    near(studio.merge(a, b, strength=0), engine.run("generate", codes=codes)["picture"][0])
    other = studio.merge(b, a).array.astype(int)
    assert np.abs(other - studio.merge(a, b).array).mean() > 1


def test_blocks_are_named_by_what_they_draw(engine: Engine) -> None:
    assert block_px(engine) == (4, 8, 16, 32)
    for blocks, expected in {
        "all": [1, 1, 1, 1],
        "coarse": [1, 1, 0, 0],
        "middle": [0, 0, 1, 1],
        "8-16px": [0, 1, 1, 0],
        "16px+": [0, 0, 1, 1],
        "0,2-3": [1, 0, 1, 1],
    }.items():
        assert (block_weights(engine, blocks, 0.5) == np.array(expected) * 0.5).all(), blocks
    assert block_weights(engine, [1], 1.0).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("learned", [True, False])
def test_a_sheet_merges_every_content_with_every_pattern(
    studio: Studio, rng: np.random.Generator, learned: bool
) -> None:
    contents, patterns = faces(rng, 3), faces(rng, 4)
    how: dict[str, Any] = {"strength": 0.8, "blocks": "8px+", "learned": learned}
    sheet = studio.merge_sheet(list(contents), list(patterns), **how)
    gap = R // 24
    assert sheet.size == (5 * R + gap, 4 * R + gap)

    def cell(i: int, j: int) -> np.ndarray:
        y, x = (n * R + (gap if n else 0) for n in (i, j))
        return sheet.array[y : y + R, x : x + R]

    for i, content in enumerate(contents, 1):
        np.testing.assert_array_equal(cell(i, 0), content)
        for j, pattern in enumerate(patterns, 1):
            np.testing.assert_array_equal(cell(0, j), pattern)
            near(cell(i, j), studio.merge(content, pattern, **how))
    assert len(sheet.sources) == 7


def test_faces_of_other_sizes_are_scaled(studio: Studio, rng: np.random.Generator) -> None:
    large, b = rng.integers(0, 256, (70, 70, 3), np.uint8), faces(rng, 1)[0]
    small = np.asarray(Image.fromarray(large).resize((R, R), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(studio.merge(large, b).array, studio.merge(small, b).array)
    assert studio.face_size("vaegan") == R


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"strength": 1.5}, "strength is 1.5, expected 0 to 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"blocks": "9"}, "block 9 does not exist: the generator has 4 blocks"),
        ({"blocks": "64px"}, "blocks of 64 px do not exist"),
        ({"blocks": "16-8px"}, "run backwards"),
        ({"blocks": "loud"}, "blocks 'loud' is not understood"),
        ({"blocks": "fine"}, "blocks 'fine' name none"),
        ({"content": np.zeros((8, 9, 3), np.uint8)}, "the content is 9 x 8 px, expected a square"),
        ({"pattern": np.zeros((9, 8, 3), np.uint8)}, "the pattern is 8 x 9 px"),
    ],
)
def test_what_cannot_be_merged_is_said(studio: Studio, changes: dict[str, Any], match: str) -> None:
    face = np.zeros((R, R, 3), np.uint8)
    with pytest.raises(InputError, match=match):
        studio.merge(**({"content": face, "pattern": face} | changes))


def test_an_empty_edge_is_refused(studio: Studio) -> None:
    face = np.zeros((R, R, 3), np.uint8)
    for contents, patterns, name in (([], [face], "content"), ([face], [], "pattern")):
        with pytest.raises(InputError, match=f"no {name} was given"):
            studio.merge_sheet(contents, patterns)


def test_without_a_bundle_the_error_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.networks.BUILT_IN", tmp_path)
    face = np.zeros((R, R, 3), np.uint8)
    with Studio() as studio, pytest.raises(ArchMismatch, match="mien export vaegan"):
        studio.merge(face, face)


def test_the_command_line_merges(
    studio: Studio,
    bundle: Bundle,
    rng: np.random.Generator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = faces(rng, 3)
    files = [str(save(x, tmp_path / f"{i}.png")) for i, x in enumerate(pictures)]
    common = ["--aligned", "--bundle", str(bundle.folder), "--backend", "ort"]
    output = tmp_path / "out.png"
    arguments = [*files[:2], "-o", str(output), "--blocks", "middle", "--strength", "0.5"]
    assert main(["merge", *arguments, *common, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["contents"], said["patterns"], said["learned"]) == (1, 1, True)
    wanted = studio.merge(pictures[0], pictures[1], blocks="middle", strength=0.5)
    np.testing.assert_array_equal(load(output), wanted.array)
    stated = provenance.read(output)
    assert stated is not None
    assert (stated.edits, stated.sources) == (("merge",), wanted.sources)
    for reverse, grid in (([], (1, 2)), (["--reverse"], (2, 1))):
        assert main(["merge", *files, "-o", str(output), "--plain", *reverse, *common]) == 0
        edges = ([pictures[0]], list(pictures[1:]))
        wanted = studio.merge_sheet(*(edges[::-1] if reverse else edges), learned=False)
        np.testing.assert_array_equal(load(output), wanted.array)
        assert f"{grid[0]} x {grid[1]} merged" in capsys.readouterr().out


def test_the_command_line_refuses_in_one_line(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "a.png", "b.png", "-o", str(tmp_path / "out.npy")]) == 1
    assert "out.npy is not named as a picture" in capsys.readouterr().err
    assert main(["merge", "a.png", "b.png", "-o", str(tmp_path / "o.png"), "--aligned",
                 "--bundle", str(bundle.folder)]) == 1  # fmt: skip
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_example_runs(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = run_example("11_merge", [bundle.folder], tmp_path, monkeypatch)
    assert len(written) == 6
    assert "many-with-one.png" in written
