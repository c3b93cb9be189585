"""What a swap refuses, and what its settings hand to the engine; runs are in tests/export."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.latents import layer_range
from mien.edits.swap import GRAPH, PUBLISHED, TERMS
from mien.errors import ArchMismatch, InputError


def test_settings_reach_the_engine_in_its_order() -> None:
    weights = {name: float(i) for i, name in enumerate(TERMS, 1)}
    inputs = mien.SwapSettings(rate=0.25, decay=0.5, **weights).inputs()  # type: ignore[arg-type]
    np.testing.assert_array_equal(inputs["term_weights"], np.arange(1, 7, dtype=np.float32))
    assert (inputs["rate"].item(), inputs["decay"].item()) == (0.25, 0.5)
    assert {array.dtype for array in inputs.values()} == {np.dtype(np.float32)}


def test_the_published_objective_has_its_own_terms_only() -> None:
    weights = PUBLISHED.inputs()["term_weights"]
    np.testing.assert_array_equal(weights, np.array([1, 0.5, 0, 0, 0, 1], np.float32))
    assert layer_range(PUBLISHED.layers, 12) == ()
    assert (PUBLISHED.steps, PUBLISHED.rate) == (149, 0.05)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": 0}, "steps is 0, expected 1 to 100000"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"decay": 1.5}, "decay is 1.5, expected 0.0 to 1.0"),
        ({"identity": -1.0}, "weight identity is -1.0, expected 0 or more"),
        ({"move": float("inf")}, "weight move is inf"),
        ({"codes": "guessed"}, "codes is 'guessed', expected projected or encoded"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        replace(mien.SwapSettings(), **change)


@pytest.fixture
def without(tmp_path: Path) -> mien.Studio:
    """A studio of the demo bundle as it would be without a recogniser."""
    if not (BUILT_IN / "demo" / "bundle.json").is_file():
        pytest.skip("the demo bundle is not built: python export/zoo/ship.py")
    folder = tmp_path / "plain"
    shutil.copytree(BUILT_IN / "demo", folder)
    spec = json.loads((folder / "bundle.json").read_text())
    for graph in ("swap_identity", GRAPH):
        del spec["graphs"][graph], spec["files"][f"{graph}.onnx"]
        (folder / f"{graph}.onnx").unlink()
    (folder / "bundle.json").write_text(json.dumps(spec))
    return mien.Studio(folder, backend="ort")


def test_a_bundle_without_a_recogniser_says_how_to_make_one(without: mien.Studio) -> None:
    face = np.zeros((without.resolution, without.resolution, 3), np.uint8)
    with without, pytest.raises(ArchMismatch, match=r"mien export stylegan2 .* --arcface"):
        without.swap(identity=face, attributes=face)


def test_faces_of_another_size_are_refused(without: mien.Studio) -> None:
    face = np.zeros((without.resolution, without.resolution, 3), np.uint8)
    with without, pytest.raises(InputError, match="picture 1 is 50 x 40 px"):
        without.swap(identity=face, attributes=np.zeros((40, 50, 3), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a.jpg", "b.jpg", "-o", "out.npy"], "out.npy is not named as a picture"),
        (["a.jpg", "b.jpg", "-o", "out.png", "--resume"], "Add --save RUN.npz"),
        (["a.jpg", "b.jpg", "-o", "out.png", "--start", "c.npy"], "c.npy"),
        (["a.jpg", "b.jpg", "-o", "out.png", "--aligned"], "a.jpg"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["swap", *arguments]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swap", "--help"]) == 0
    assert "Example: mien swap anna.jpg mark.jpg -o swapped.png" in capsys.readouterr().out
