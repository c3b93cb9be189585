"""Gatys' style transfer with mien's own VGG: what a search gives, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import mien
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.colour import with_colours_of, with_hues_of
from mien.edits.gatys_layers import chosen_layers
from mien.edits.gatys_settings import FAST, PUBLISHED
from mien.edits.loop import Step
from mien.edits.presets import gatys_settings_of
from mien.errors import ArchMismatch, InputError, NotFinite
from mien.images import load, save
from mien_engines import Bundle

SMALL = mien.GatysSettings(size=112, steps=(6, 4), style_layers="published")
WIDE = (72, 112)  # height and width of the content, px

U8 = np.ndarray


@pytest.fixture(scope="module")
def studio() -> Iterator[mien.Studio]:
    path = BUILT_IN / "vgg"
    if not (path / "gatys_step.onnx").is_file():
        pytest.skip("the bundle vgg is not built: python export/zoo/ship.py vgg")
    with mien.Studio(backend="ort", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def content() -> U8:
    coarse = np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, WIDE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def style() -> U8:
    stripes = (np.arange(48)[:, None] // 4 + np.arange(56) // 6) % 2
    return (stripes[:, :, None] * [160, 90, 30] + [60, 120, 40]).astype(np.uint8)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_search_lowers_the_loss_and_keeps_the_aspect(
    studio: mien.Studio, content: U8, style: U8, optimiser: Any
) -> None:
    settings = replace(SMALL, size=60, steps=(25,), optimiser=optimiser)
    found = studio.gatys(content, style, settings, every=5)
    assert found.picture.size == (60, 39)
    assert found.losses[-1] < 0.5 * found.losses[0]
    assert found.loss <= min(found.losses)
    assert sum(found.terms.values()) == pytest.approx(found.loss, rel=1e-5)
    assert (found.steps, found.ended, found.finished) == (25, "steps", True)
    assert np.asarray(found).dtype == np.uint8


def test_the_picture_says_what_was_done_and_to_what(
    studio: mien.Studio, content: U8, style: U8, tmp_path: Path
) -> None:
    found = studio.gatys(content, [style, "waves"], replace(SMALL, steps=(1,)))
    said = mien.provenance.read(found.save(tmp_path / "p.png"))
    assert said is not None
    assert said.edits == ("gatys",)
    assert said.sources[:2] == tuple(map(mien.provenance.digest, (content, style)))
    assert len(said.sources) == 3
    assert said.digital_source_type == mien.provenance.SYNTHETIC
    assert mien.provenance.read(found.save(tmp_path / "q.png", mark=False)) is None


def test_sizes_go_from_coarse_to_fine_and_previews_are_whole(
    studio: mien.Studio, content: U8, style: U8
) -> None:
    seen: list[Step] = []
    studio.gatys(content, style, replace(SMALL, steps=(4, 4)), every=2, callback=seen.append)
    assert [step.step for step in seen] == [0, 2, 4, 6]
    assert {step.steps for step in seen} == {8}
    assert [step.codes.shape[2:] for step in seen] == [(36, 56)] * 2 + [WIDE] * 2
    assert {step.shown["picture"].shape for step in seen} == {(1, *WIDE, 3)}
    began = cv2.resize(seen[1].codes[0].transpose(1, 2, 0), WIDE[::-1])
    np.testing.assert_allclose(seen[2].codes[0].transpose(1, 2, 0), began, atol=0.7)


def test_weights_choose_between_styles(studio: mien.Studio, content: U8, style: U8) -> None:
    other = np.ascontiguousarray(style[:, ::-1, ::-1])
    settings = replace(SMALL, steps=(5,))

    def drawn(styles: list[U8], weights: list[float] | None) -> U8:
        return studio.gatys(content, styles, settings, weights=weights).picture.array

    alone = drawn([style], None)
    np.testing.assert_array_equal(drawn([style, other], [2, 0]), alone)
    np.testing.assert_array_equal(drawn([style, style], [1, 3]).shape, alone.shape)
    assert np.abs(drawn([style, other], None).astype(int) - alone).mean() > 0.1


def test_the_mean_gram_matrix_has_the_gradient_of_the_weighted_losses(
    studio: mien.Studio, content: U8, style: U8
) -> None:
    engine = studio._networks["vgg"]
    other = np.roll(style, 9, 2)
    targets = [engine.run("gatys_targets", content=content[None], style=s[None])
               for s in (style, other)]  # fmt: skip
    layers = chosen_layers(engine, SMALL)

    def gradient(share: float) -> np.ndarray:
        grams = {n: (1 - share) * targets[0][n] + share * targets[1][n] for n in layers.grams}
        return engine.run(
            layers.graph("lbfgs"),
            image=targets[0]["image"],
            style_weights=layers.style_weights,
            content_weights=layers.content_weights,
            smoothness=np.zeros(1, np.float32),
            **grams,
            **{name: targets[0][name] for name in layers.contents},
        )["gradient"]

    parts = 0.75 * gradient(0.0) + 0.25 * gradient(1.0)
    np.testing.assert_allclose(gradient(0.25), parts, atol=1e-4 * np.abs(parts).max())


def test_the_start_is_what_was_asked_for(studio: mien.Studio, content: U8, style: U8) -> None:
    still = replace(SMALL, steps=(1,), rate=0.0)
    np.testing.assert_array_equal(studio.gatys(content, style, still).picture.array, content)
    other = np.ascontiguousarray(content[::-1])
    begun = studio.gatys(content, style, replace(still, start="noise"), start=other)
    np.testing.assert_array_equal(begun.picture.array, other)
    noise = [studio.gatys(content, style, replace(still, start="noise", seed=s)) for s in (3, 3, 4)]
    np.testing.assert_array_equal(noise[0].picture.array, noise[1].picture.array)
    assert np.abs(noise[0].picture.array.astype(int) - noise[2].picture.array).mean() > 20


def test_a_run_ends_when_it_is_told_to_with_the_best_so_far(
    studio: mien.Studio, content: U8, style: U8
) -> None:
    stop = threading.Event()
    found = studio.gatys(content, style, SMALL, every=1, stop=stop, callback=lambda s: stop.set())
    assert (found.ended, found.steps, found.picture.size) == ("stop", 1, WIDE[::-1])
    for optimiser in ("adam", "lbfgs"):
        settings = replace(SMALL, optimiser=optimiser)  # type: ignore[arg-type]
        found = studio.gatys(content, style, settings, seconds=1e-9)
        assert (found.ended, found.steps) == ("seconds", 0)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_an_interrupted_run_leaves_its_best_picture(
    studio: mien.Studio, content: U8, style: U8, tmp_path: Path, optimiser: Any
) -> None:
    seen: list[Step] = []

    def interrupt(step: Step) -> None:
        seen.append(step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    path, settings = tmp_path / "best.png", replace(SMALL, steps=(20,), optimiser=optimiser)
    with pytest.raises(KeyboardInterrupt):
        studio.gatys(content, style, settings, every=2, callback=interrupt, save=path)
    best = min(seen, key=lambda step: float(step.loss[0]))
    np.testing.assert_array_equal(load(path), best.shown["picture"][0])
    assert [file.name for file in tmp_path.iterdir()] == ["best.png"]


def test_hues_stay_where_lightness_alone_is_asked_for(
    studio: mien.Studio, content: U8, style: U8
) -> None:
    settings = replace(SMALL, steps=(8,))
    free = studio.gatys(content, style, settings).picture.array
    found = studio.gatys(content, style, replace(settings, colour="lightness")).picture.array
    np.testing.assert_array_equal(found, with_hues_of(content, free))
    matched = studio.gatys(content, style, replace(settings, colour="matched")).picture.array
    given = studio.gatys(content, with_colours_of(content, style), settings).picture.array
    np.testing.assert_array_equal(matched, given)


def test_matched_colours_have_the_contents_mean_and_covariance(rng: np.random.Generator) -> None:
    mix = rng.uniform(0, 1, (3, 3))
    one = (rng.normal(0, 18, (40, 50, 3)) @ mix + [120, 110, 130]).clip(0, 255).astype(np.uint8)
    other = rng.integers(60, 190, (30, 20, 3), np.uint8)
    found = with_colours_of(one, other).reshape(-1, 3).astype(float)
    wanted = one.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(found.mean(0), wanted.mean(0), atol=0.5)
    covariance = np.cov(wanted.T)
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=0.03 * covariance.max() + 1)
    flat = np.full((4, 4, 3), 90, np.uint8)
    assert np.abs(with_colours_of(one, flat).astype(float) - wanted.mean(0)).max() < 1


def test_the_cheapest_graph_that_holds_the_layers_is_run(studio: mien.Studio) -> None:
    engine = studio._networks["vgg"]

    def graph(**changes: Any) -> str:
        return chosen_layers(engine, replace(SMALL, **changes)).graph("adam")

    assert graph() == "gatys_published_step"
    assert graph(style_layers={"conv1_1": 1, "conv3_1": 2}) == "gatys_published_step"
    assert graph(style_layers={"conv4_1": 1}) == "gatys_step"
    assert graph(style_layers={"conv4_1": 0, "conv1_1": 1}) == "gatys_published_step"
    assert graph(content_layers={"conv4_2": 1}) == "gatys_step"
    assert graph(style_layers="all") == "gatys_step"
    chosen = chosen_layers(engine, replace(SMALL, style_layers={"conv2_2": 3.0}))
    assert dict(zip(chosen.grams, chosen.style_weights, strict=True)) == {
        "gram_conv1_1": 0, "gram_conv2_1": 0, "gram_conv2_2": 3, "gram_conv3_1": 0,
    }  # fmt: skip


def test_relative_weights_are_those_over_the_targets_mean_squares(
    studio: mien.Studio, content: U8, style: U8
) -> None:
    style = np.tile(style, (2, 2, 1))  # of the picture's longer side: it is not scaled
    targets = studio._networks["vgg"].run("gatys_targets", content=content[None], style=style[None])
    grams, maps = (
        {layer: float(1 / np.square(targets[f"{kind}_{layer}"], dtype=np.float64).mean())}
        for kind, layer in (("gram", "conv2_1"), ("content", "conv3_1"))
    )
    alone = replace(SMALL, steps=(1,), style_weight=3.0, content_weight=2.0, start="noise")
    given = replace(alone, relative=False, style_layers=grams, content_layers=maps)
    named = replace(alone, style_layers=dict.fromkeys(grams, 1.0),
                    content_layers=dict.fromkeys(maps, 1.0))  # fmt: skip
    found, expected = (studio.gatys(content, style, one).terms for one in (named, given))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_published_recipe_is_system_2s() -> None:
    assert (PUBLISHED.optimiser, PUBLISHED.steps, PUBLISHED.history) == ("lbfgs", (620,), 100)
    assert (PUBLISHED.style_weight, PUBLISHED.content_weight, PUBLISHED.smoothness) == (1e6, 1, 0)
    assert (PUBLISHED.style_layers, PUBLISHED.content_layers) == ("published", "published")
    assert (PUBLISHED.relative, PUBLISHED.start, PUBLISHED.colour) == (False, "content", "style")
    assert gatys_settings_of("published", size=128) == replace(PUBLISHED, size=128)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": ()}, "steps is \\(\\), expected a number from 1"),
        ({"steps": (10, 0)}, "steps is \\(10, 0\\)"),
        ({"size": 2000}, "size is 2000, expected 1 to 1024"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"decay": 1.5}, "decay is 1.5"),
        ({"history": 0}, "history is 0"),
        ({"style_weight": -1.0}, "style_weight is -1.0"),
        ({"smoothness": float("inf")}, "smoothness is inf"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd', expected adam, lbfgs"),
        ({"colour": "none"}, "colour is 'none', expected style, lightness, matched"),
        ({"start": "style"}, "start is 'style', expected content, noise"),
        ({"style_layers": "conv1_1"}, "style_layers is 'conv1_1', expected published, all or"),
        ({"content_layers": {"conv1_1": -2.0}}, "the weight of conv1_1 is -2.0"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        replace(FAST, **change)


@pytest.mark.parametrize(
    ("settings", "options", "text"),
    [
        ({"style_layers": {"conv9_1": 1.0}}, {}, "style_layers: the network has no conv9_1"),
        ({"style_layers": {}, "content_layers": {}}, {}, "no layer has a weight"),
        ({"steps": (1, 1, 1)}, {}, "and 28 x 18 px at first, expected sides of 32 to 1024 px"),
        ({}, {"weights": [1, 2]}, "1 styles with 2 weights"),
        ({}, {"weights": [0]}, "whose sum is above 0"),
        ({}, {"style": []}, "0 styles"),
        ({}, {"seconds": 0}, "seconds is 0, expected more than 0"),
        ({}, {"every": 0}, "every is 0"),
        ({}, {"save": "best.npy"}, "pictures are not written as .npy"),
        ({"size": None}, {"content": np.zeros((40, 1100, 3), np.uint8)}, "would be 1100 x 40 px"),
    ],
)
def test_what_does_not_fit_is_refused(
    studio: mien.Studio, content: U8, style: U8, settings: Any, options: Any, text: str
) -> None:
    arguments = {"content": content, "style": style, **options}
    with pytest.raises(InputError, match=text):
        studio.gatys(settings=replace(SMALL, **settings), **arguments)


def test_a_preset_that_does_not_exist_is_named(studio: mien.Studio, content: U8, style: U8) -> None:
    with pytest.raises(InputError, match=r"no preset 'publishd'\. Did you mean published\?"):
        studio.gatys(content, style, "publishd")
    with pytest.raises(InputError, match="these settings have no pixel"):
        gatys_settings_of("fast", pixel=1)


def test_a_diverging_search_says_so(studio: mien.Studio, content: U8, style: U8) -> None:
    heavy = replace(
        SMALL, style_weight=1e15, style_layers={"conv1_1": 3e23}, start="noise", relative=False
    )
    with pytest.raises(NotFinite, match="NaN or infinity"):
        studio.gatys(content, 255 - style, replace(heavy, content_weight=1e15,
                                                   content_layers={"conv2_2": 3e23}))  # fmt: skip
    with pytest.raises(InputError, match="comes to 3e\\+39, more than float32 holds"):
        studio.gatys(content, style, replace(heavy, style_layers={"conv1_1": 3e24}))


def test_a_bundle_without_the_graphs_says_how_to_make_one(
    studio: mien.Studio, content: U8, style: U8, tmp_path: Path
) -> None:
    built = Bundle.open(BUILT_IN / "vgg")
    few = {n: g for n, g in built.spec.graphs.items() if not n.startswith("gatys")}
    for file in built.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spec = built.spec.model_copy(update={"graphs": few})
    (tmp_path / "bundle.json").write_text(spec.model_dump_json())
    with (
        mien.Studio(tmp_path, backend="ort") as old,
        pytest.raises(ArchMismatch, match="has no graph gatys_step"),
    ):
        old.gatys(content, style, SMALL)


def test_the_command_line_paints(
    studio: mien.Studio, content: U8, style: U8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(save(x, tmp_path / n)) for x, n in ((content, "c.png"), (style, "s.png"))]
    output = tmp_path / "p.png"
    assert main([
        "gatys", *paths, "-o", str(output), "--size", "112", "--steps", "6,4", "--backend", "ort",
        "--style-layers", "conv1_1=1,conv2_1=0.5", "--start", paths[0], "--json",
    ]) == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    settings = replace(SMALL, style_layers={"conv1_1": 1.0, "conv2_1": 0.5})
    expected = studio.gatys(content, style, settings, start=content)
    assert record["loss"] == pytest.approx(expected.loss, rel=1e-3)
    assert (record["steps"], record["size"], record["ended"]) == (10, [112, 72], "steps")
    difference = np.abs(load(output).astype(int) - expected.picture.array)
    assert np.quantile(difference, 0.95) <= 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a.jpg", "mosaic", "-o", "out.npy"], "out.npy"),
        (["a.jpg", "mosaic", "-o", "out.png", "--steps", "2,x"], "--steps '2,x' is not a number"),
        (["a.jpg", "mosaic", "-o", "out.png", "--steps", "2.5"], "has a fraction"),
        (["a.jpg", "mosaic", "-o", "out.png", "--style-layers", "conv1_1=x"], "--style-layers"),
        (["a.jpg", "mosaic", "-o", "out.png", "--preset", "slow"], "no preset 'slow'"),
        (["a.jpg", "mosaic", "-o", "out.png"], "a.jpg"),
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
    assert main(["gatys", *arguments]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gatys", "--help"]) == 0
    assert "Example: mien gatys anna.jpg mosaic -o painted.png" in capsys.readouterr().out
