"""Presets, starts, limits and films of a projection, on the bundle that comes with mien."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.loop import Step
from mien.edits.presets import PRESETS, settings_of
from mien.edits.settings import Settings
from mien.errors import ArchMismatch, InputError
from mien.studio import Studio

needs_demo = pytest.mark.skipif(
    not (BUILT_IN / "demo").exists(), reason="the demo bundle is not built"
)
SHORT = replace(mien.NVLABS, steps=12, seed=5)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    if not (BUILT_IN / "demo").exists():
        pytest.skip("the demo bundle is not built")
    with Studio("demo", backend="ov") as opened:
        yield opened


@pytest.fixture(scope="module")
def face(studio: Studio) -> mien.Picture:
    return studio.render(studio.sample(8, psi=1.0))


def test_a_preset_has_a_name_and_can_be_changed() -> None:
    assert settings_of("fast") is not settings_of("faithful")
    assert settings_of("faithful", steps=7) == replace(mien.FAITHFUL, steps=7)
    assert settings_of(None) == mien.ProjectionSettings()
    assert settings_of(mien.NVLABS) == PRESETS["nvlabs"]
    with pytest.raises(InputError, match=r"no preset 'fats'\. Did you mean fast"):
        settings_of("fats")
    with pytest.raises(InputError, match="these settings have no decay"):
        settings_of("nvlabs", decay=0.9)


@pytest.mark.parametrize(
    ("kind", "wrong", "match"),
    [
        (mien.ProjectionSettings, {"steps": 0}, "steps is 0, expected 1 to"),
        (mien.ProjectionSettings, {"warm_up": -1}, "warm_up is -1"),
        (mien.ProjectionSettings, {"prior": -1.0}, "weight prior is -1.0, expected 0 or more"),
        (mien.ProjectionSettings, {"start": "nowhere"}, "expected auto, mean, encoder"),
        (mien.NoiseSettings, {"rate": float("nan")}, "rate is nan"),
        (mien.NoiseSettings, {"ramp_up": 1.5}, "ramp_up is 1.5, expected 0.0 to 1.0"),
        (mien.NoiseSettings, {"seed": -1}, "seed is -1"),
        (mien.NoiseSettings, {"start": "nowhere"}, "expected auto, mean, encoder"),
    ],
)
def test_settings_outside_their_range_are_refused(kind: type, wrong: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        kind(**wrong)


def test_the_rate_warms_up_linearly() -> None:
    inputs = mien.ProjectionSettings(rate=0.2, warm_up=4).course(1, 8).inputs
    rates = [float(inputs(step)["rate"][0]) for step in range(6)]
    np.testing.assert_allclose(rates, [0.05, 0.1, 0.15, 0.2, 0.2, 0.2], rtol=1e-6)
    assert not mien.ProjectionSettings().course(1, 8).inputs(0)  # the graph's own schedule


def test_random_numbers_are_those_of_the_seed_and_the_step() -> None:
    inputs = SHORT.course(2, 1000).inputs
    first, again, later = (inputs(step)["draw"] for step in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], first[1])  # a batch is searched as each alone
    maps = SHORT.state(np.zeros((1, 3, 2), np.float32), 1000)["noise"][0]
    for one, other in ((first[0], later[0]), (first[0], maps), (maps, later[0])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
    other = replace(SHORT, seed=6).course(1, 1000).inputs(0)["draw"][0]
    assert abs(np.corrcoef(first[0], other)[0, 1]) < 0.15


@needs_demo
def test_nvlabs_finds_one_w_and_resumes_to_the_same_bits(
    studio: Studio, face: mien.Picture, tmp_path: Path
) -> None:
    first: list[Step] = []
    whole = studio.project(face, SHORT, every=3, callback=first.append)
    assert set(whole.terms) == {"perceptual", "noise"}
    assert whole.loss == whole.terms["perceptual"]
    assert whole.loss < 0.8 * whole.losses[0]
    assert 0 < whole.terms["noise"] < first[0].terms[0, 1]  # the maps are less like themselves
    np.testing.assert_array_equal(whole.ws, np.tile(whole.ws[:1], (studio.num_ws, 1)))
    # The demo's generator takes no noise: what the search drew is what render draws.
    assert whole.picture is not None
    difference = whole.picture.array.astype(int) - studio.render(whole).array
    assert np.abs(difference).max() <= 1

    stop, run = threading.Event(), tmp_path / "run.npz"
    broken = studio.project(
        face, SHORT, every=3, save=run, stop=stop,
        callback=lambda step: stop.set() if step.step >= 6 else None,
    )  # fmt: skip
    assert broken.ended == "stop"
    resumed = studio.project(face, SHORT, every=3, save=run, resume=True)
    np.testing.assert_array_equal(resumed.ws, whole.ws)
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    assert resumed.loss == whole.loss
    with pytest.raises(InputError, match="another settings"):
        studio.project(face, replace(SHORT, steps=13), save=run, resume=True)
    with pytest.raises(InputError, match="another settings"):
        studio.project(face, "fast", save=run, resume=True)


@needs_demo
def test_nvlabs_searches_a_batch_as_each_alone(studio: Studio, face: mien.Picture) -> None:
    faces = [face, studio.render(studio.sample(3))]
    together = studio.project_all(faces, SHORT)
    for one, other in zip(together, faces, strict=True):
        alone = studio.project(other, SHORT)
        assert one.loss == pytest.approx(alone.loss, rel=0.02)


@needs_demo
def test_fast_resumes_to_the_same_bits(studio: Studio, face: mien.Picture, tmp_path: Path) -> None:
    fast = replace(mien.FAST, steps=14)
    whole = studio.project(face, fast, every=4)
    run = tmp_path / "run.npz"
    studio.project(face, replace(fast, steps=7), every=4, save=run)
    resumed = studio.project(face, fast, every=4, save=run, resume=True)
    np.testing.assert_array_equal(resumed.ws, whole.ws)


@needs_demo
@pytest.mark.parametrize("settings", [mien.FAST, SHORT], ids=["w-plus", "w"])
def test_a_search_begins_where_it_is_told(
    studio: Studio, face: mien.Picture, settings: Settings
) -> None:
    def begins(settings: Settings, start: np.ndarray | None = None) -> np.ndarray:
        codes: list[np.ndarray] = []
        studio.project(
            face, replace(settings, steps=1), start=start,
            callback=lambda step: codes.append(step.codes[0]),
        )  # fmt: skip
        return codes[0]

    mean = studio.engine.bundle.constants["w_mean"]
    found = begins(replace(settings, start="mean"))
    np.testing.assert_allclose(found, np.broadcast_to(mean, found.shape), rtol=1e-6)
    guess = studio.invert(face)
    code = studio.sample(4)
    in_w = settings is SHORT  # there the layers' mean is taken
    for start, expected in ((None, guess), (code, code)):
        found = begins(replace(settings, start="encoder"), start)
        np.testing.assert_allclose(found, expected.mean(0) if in_w else expected, atol=1e-5)


@needs_demo
def test_a_search_ends_at_a_loss_or_at_a_time(studio: Studio, face: mien.Picture) -> None:
    long = mien.ProjectionSettings(steps=5000, start="mean")
    losses: list[float] = []
    found = studio.project(
        face, long, until=0.6, every=2, callback=lambda step: losses.append(float(step.loss[0]))
    )
    assert found.ended == "until"
    assert found.loss <= losses[-1] <= 0.6 < losses[-2]
    found = studio.project(face, long, seconds=0.3)
    assert found.ended == "seconds"
    assert found.steps < 5000
    for limit in ({"until": 0.0}, {"seconds": -1.0}, {"every": 0}):
        with pytest.raises(InputError, match=next(iter(limit))):
            studio.project(face, "fast", **limit)  # type: ignore[arg-type]


@needs_demo
def test_a_bundle_without_the_graph_says_so(
    studio: Studio, face: mien.Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = studio.engine.bundle.spec
    graphs = {n: g for n, g in spec.graphs.items() if not n.startswith("project_noise")}
    older = replace(studio.engine.bundle, spec=spec.model_copy(update={"graphs": graphs}))
    with Studio("demo", backend="ort") as other:
        monkeypatch.setattr(other.engine, "bundle", older)
        with pytest.raises(ArchMismatch, match="has no graph 'project_noise_target'"):
            other.project(face, "nvlabs")


@needs_demo
def test_the_command_line_has_presets_starts_limits_and_a_film(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], studio: Studio, face: mien.Picture
) -> None:
    target, code, again = (str(tmp_path / n) for n in ("face.png", "a.npy", "b.npy"))
    face.save(target)
    film, drawn = tmp_path / "film.gif", tmp_path / "found.png"
    common = ["project", target, "--aligned", "--backend", "ov", "--json", "--every", "2"]
    assert (
        main([*common, "-o", code, "--preset", "fast", "--steps", "4", "--trace", str(film)]) == 0
    )
    with Image.open(film) as opened:
        assert opened.size == (256, 128)
        assert opened.n_frames == 3  # at steps 0 and 2, and the end
    more = ["--preset", "nvlabs", "--steps", "3", "--seed", "9", "--start", code]
    assert main([*common, "-o", again, *more, "--picture", str(drawn), "--until", "99"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["ended"], record["steps"]) == ("until", 1)
    assert set(record["terms"]) == {"perceptual", "noise"}
    assert drawn.exists()
    assert main([*common, "-o", again, "--preset", "nvlabs", "--decay", "0.9"]) == 1
    assert main([*common, "-o", again, "--preset", "fast", "--faithful"]) == 1
    assert "these settings have no decay" in capsys.readouterr().err
    assert main([*common, "-o", again, "--start", "missing.npy"]) == 1
    assert "missing.npy" in capsys.readouterr().err
