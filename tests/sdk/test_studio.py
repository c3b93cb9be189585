"""Studio and the command line, on the bundle that comes with mien."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.bundles import BUILT_IN, built_in
from mien.cli.main import VERBS, main
from mien.demo.run import own_portraits
from mien.errors import BackendUnavailable, InputError
from mien.studio import Studio

pytestmark = pytest.mark.skipif(
    not (BUILT_IN / "demo").exists(), reason="the demo bundle is not built"
)

SHORT = mien.ProjectionSettings(steps=12, start="mean")


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort") as opened:
        yield opened


def test_a_seed_is_a_face_and_always_the_same(studio: Studio) -> None:
    first, again, other = (studio.render(studio.sample(seed)).array for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (studio.resolution, studio.resolution, 3)
    assert np.abs(first.astype(int) - other).mean() > 5
    assert 20 < first.mean() < 235
    assert first.std() > 20


def test_mix_draws_what_mixing_codes_draws(studio: Studio) -> None:
    a, b = studio.sample(1), studio.sample(2)
    drawn = studio.mix(a, b, layers="4-7", psi=0.25).array
    expected = studio.render(mien.mix(a, b, layers="4-7", psi=0.25)).array
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_projection_comes_nearer_and_resumes_to_the_same_bits(
    studio: Studio, tmp_path: Path
) -> None:
    face = studio.render(studio.sample(8, psi=1.0))
    whole = studio.project(face, SHORT, every=3)
    assert whole.converged
    assert whole.loss < 0.8 * whole.losses[0]
    stop, run = threading.Event(), tmp_path / "run.npz"
    broken = studio.project(
        face, SHORT, every=3, save=run, stop=stop,
        callback=lambda step: stop.set() if step.step >= 6 else None,
    )  # fmt: skip
    assert not broken.finished
    resumed = studio.project(face, SHORT, every=3, save=run, resume=True)
    np.testing.assert_array_equal(resumed.ws, whole.ws)
    assert resumed.loss == whole.loss
    with pytest.raises(InputError, match="another target"):
        studio.project(studio.render(studio.sample(9)), SHORT, save=run, resume=True)


def test_faces_in_a_batch_are_projected_as_alone(studio: Studio) -> None:
    faces = [studio.render(studio.sample(seed)) for seed in (5, 6)]
    together = studio.project_all(faces, SHORT)
    alone = [studio.project(face, SHORT) for face in faces]
    for one, other in zip(together, alone, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.02)


def test_the_baseline_begins_at_the_mean(studio: Studio) -> None:
    weights = mien.FAITHFUL.inputs()["term_weights"]
    np.testing.assert_array_equal(weights, np.array([1, 0.5, 0, 0], np.float32))
    assert (mien.FAITHFUL.steps, mien.FAITHFUL.rate, mien.FAITHFUL.start) == (149, 0.05, "mean")
    face = studio.render(studio.sample(1))
    losses: list[float] = []
    settings = mien.ProjectionSettings(steps=2, start="mean")
    studio.project(face, settings, callback=lambda step: losses.append(float(step.loss[0])))
    mean = np.broadcast_to(studio.engine.bundle.constants["w_mean"], (12, studio.w_dim))
    given: list[float] = []
    studio.project(
        face, settings, start=mean, callback=lambda step: given.append(float(step.loss[0]))
    )
    assert losses == given


def test_threads_share_a_studio(studio: Studio) -> None:
    codes = [studio.sample(seed) for seed in range(8)]
    expected = [studio.render(code).array for code in codes]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda code: studio.render(code).array, codes * 3))
    for i, array in enumerate(found):
        np.testing.assert_array_equal(array, expected[i % 8])


def test_wrong_inputs_say_what_was_expected(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"\(18, 512\), this generator's have \(12, 192\)"):
        studio.render(np.zeros((18, 512)))
    with pytest.raises(InputError, match="50 x 40 px, this generator makes 128 x 128"):
        studio.project(np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(InputError, match="there is no bundle at nowhere"):
        Studio("nowhere")
    with pytest.raises(BackendUnavailable, match="ort-cuda"):
        Studio("demo", backend="ort-cuda")


def test_the_sample_portraits_need_alignment_and_get_it(studio: Studio) -> None:
    for portrait in own_portraits():
        face = studio.align(portrait.photo, landmarks=portrait.landmarks)
        right = face.quad[3] - face.quad[0]
        assert 5 < abs(np.rad2deg(np.arctan2(right[1], right[0]))) < 25


def test_the_command_line_goes_the_whole_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = own_portraits()[0]
    face, code, mixed = (str(tmp_path / n) for n in ("a.png", "a.npy", "m.png"))
    assert (
        main(["align", str(portrait.photo), "-o", face, "--landmarks", str(portrait.landmarks)])
        == 0
    )
    assert main(["project", face, "-o", code, "--aligned", "--steps", "5", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["steps"] == 5
    assert main(["mix", code, code, "-o", mixed, "--layers", "coarse"]) == 0
    assert main(["render", "--seed", "2", "-o", str(tmp_path / "r.png")]) == 0
    assert main(["info", "demo", "--json"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "a.png", "a.face.json", "a.npy", "m.png", "r.png"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["mixx"], 2, "Did you mean mien mix?"),
        (["mix", "--nonsense"], 2, "mien mix --help"),
        (["align", "missing.jpg", "-o", "a.png"], 1, "missing.jpg"),
        (["mix", "missing.npy", "missing.npy", "-o", "a.png"], 1, "missing.npy"),
        (["project", "a.jpg", "-o", "code.txt"], 1, "FILE.npy"),
        (["demo", "one.jpg"], 1, "Name two, or none"),
        (["table", "--rows", "1,2", "--columns", "3", "-o", "a.png"], 1, "Repeat the option"),
        (["export", "vae", "x", "-o", "y"], 1, "stylegan2"),
        (["info", "nowhere"], 1, "no bundle at nowhere"),
    ],
)
def test_errors_are_one_line_and_a_status(
    arguments: list[str], status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_know_is_refused(studio: Studio, seed: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 4294967295"):
        studio.sample(seed)


def test_a_verb_that_is_not_known_is_a_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rendr"]) == 2
    assert "mien render" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["render", "--bundle", "faces"], "faces is of family faces, and mien render needs one of"),
        (["stylize", "a.png", "waves", "-o", "b.png", "--bundle", "demo"], "of family stylegan2"),
        (["gatys", "a.png", "waves", "-o", "b.png", "--bundle", "demo"], "family vgg"),
    ],
)
def test_a_bundle_of_another_family_is_refused(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert text in capsys.readouterr().err


def test_a_code_and_a_seed_are_refused_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(tmp_path / "code.npy"), "--seed", "3"]) == 1
    assert "code.npy is a face already" in capsys.readouterr().err


def test_info_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["info", "demo"]) == 0
    said = capsys.readouterr().out
    assert "  in   ws float32 [N, 12, 192]\n" in said
    assert "  out  picture uint8 [N, 128, 128, 3], 0 to 255, RGB\n" in said


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb in ("demo", "doctor", "info", "align", "project", "mix", "render", "export"):
        assert f"  {verb} " in said
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        assert "xample" in capsys.readouterr().out


def test_the_demo_writes_its_sheet_and_page(tmp_path: Path) -> None:
    from mien.demo.run import run_demo
    from mien.demo.verbs import VERBS

    shown = [verb for verb in VERBS if verb.bundle in built_in()]
    result = run_demo(own_portraits(), tmp_path / "out", backend="ort")
    page = result.report.read_text()
    assert result.contact.stat().st_size > 10_000
    assert page.count("<figure>") == 17 + 2 * len(shown)
    assert "http" not in page.replace("http-equiv", "")
    assert all(path.exists() for path in result.pictures)
