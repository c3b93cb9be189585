"""Verbs: each is measured and checked, and named on the page."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mien
from mien.bench import Plan, contest, measure, verbs
from mien.bench.report import LIVE
from mien.bench.verbs import VERBS, accuracy
from mien.cli.main import main
from mien.edits.expression import Expression
from mien.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "bench.md"


SLOW = ("animate", "mix", "move", "table")  # what they are made of is in the others, too
EACH = [
    pytest.param(verb, marks=[pytest.mark.slow] if verb in SLOW else [])
    for verb in ("express", "frame", "invert", "translate", *SLOW)
]


@pytest.mark.parametrize("verb", EACH)
def test_a_verb_is_measured_and_checked(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "allocations", lambda call: None)  # it takes its time
    if not (mien.bundles.BUILT_IN / "demo" / "bundle.json").is_file():  # type: ignore[attr-defined]
        pytest.skip("the demo bundle is not built")
    found = measure(Plan(verbs=(verb,), backends=("ort",), calls=3, threads=1))
    (case,) = found.cases
    assert (case.work, case.who) == (verb, "ort")
    assert case.accuracy is not None
    assert case.accuracy.value == 0
    assert case.counts is None


def test_pasting_runs_no_network_and_is_measured_once() -> None:
    if not (mien.bundles.BUILT_IN / "demo" / "bundle.json").is_file():  # type: ignore[attr-defined]
        pytest.skip("the demo bundle is not built")
    pytest.importorskip("openvino")
    found = measure(Plan(verbs=("paste",), backends=("ov",), calls=3, threads=1))
    assert [(case.work, case.who) for case in found.cases] == [("paste", "ort")]
    assert not found.failed


def test_codes_are_compared_by_their_distance_alone(rng: np.random.Generator) -> None:
    """What `invert` gives: floats, whose differences are no levels."""
    code = rng.standard_normal((12, 192)).astype(np.float32)
    other = code.copy()
    other[3, 5] += 0.25
    found = accuracy(other, code)
    assert found.value == pytest.approx(0.25 / (code.max() - code.min()), rel=1e-5)
    assert found.detail == ""
    assert accuracy(code, code).value == 0


@pytest.mark.parametrize(
    ("loss", "value", "said"),
    [([0.75, 0.25], -0.25, "-0.25"), ([1.0, 0.6], 0.2, "0.2"), ([0.0, 0.0], -1.0, "-1"),
     ([np.nan, 0.5], None, "not finite"), ([np.inf, 0.5], None, "not finite")],
)  # fmt: skip
def test_a_search_may_find_a_lower_loss_than_the_reference(
    loss: list[float], value: float | None, said: str
) -> None:
    def found(losses: list[float]) -> SimpleNamespace:
        return SimpleNamespace(loss=np.array(losses, np.float32))

    assert (got := accuracy(found(loss), found([1.0, 0.5]))).value == (
        None if value is None else pytest.approx(value, rel=1e-5)
    )
    assert got.shown == said


def test_pictures_are_compared_by_levels_and_psnr_too(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 200, (3, 7, 3), np.uint8)
    picture[0, 0] = (0, 255, 9)
    other = picture.copy()
    other[1, 2, 0] += 6
    found = accuracy(other, picture)
    assert found.value == pytest.approx(6 / 255)
    psnr = 20 * np.log10(255) - 10 * np.log10(36 / picture.size)
    assert found.detail == f"PSNR {psnr:.1f} dB; 6 of 255 levels at most"
    assert accuracy(picture, picture).detail == "equal; 0 of 255 levels at most"
    assert accuracy(picture, picture[1:]).measure == "shapes differ"


@pytest.mark.parametrize("verb", ["express", "frame"])
def test_an_expression_that_does_not_fit_is_listed_and_nothing_measured_is_status_1(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (mien.bundles.BUILT_IN / "demo" / "bundle.json").is_file():  # type: ignore[attr-defined]
        pytest.skip("the demo bundle is not built")
    other = Expression(
        "glad", np.ones((12, 192), np.float32), np.ones(12, np.bool_), "another", "0" * 64
    )
    monkeypatch.setattr(verbs, "EXPRESSION", other)
    options = ["--verb", verb, "--backend", "ort", "--starts", "0", "--no-roofline"]
    assert main(["bench", *options]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f"not measured: {verb}, ort: expression glad is of generator another" in shown
    assert "nothing was measured" in shown


def test_the_page_names_every_verb_and_no_other() -> None:
    text = PAGE.read_text("utf-8")
    start = text.index("`--verb` measures a verb")
    listed = text[text.index(":", start) : text.index("real-time run", start)]
    presets = {"fast"}
    assert {*re.findall(r"`([a-z-]+)`", listed)} - presets == {*VERBS, LIVE}
    with pytest.raises(InputError, match=re.escape(f"There are: {', '.join([*VERBS, LIVE])}")):
        verbs.check_verb("dance", None)
