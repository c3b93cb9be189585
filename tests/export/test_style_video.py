"""Style transfer on video: through the studio and the command line."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.realtime.watching import Patient, Watch
from tests.video.films import Film, Sound, heard, make, scene, seen, times

from mien import Studio
from mien.cli.main import main
from mien.errors import InputError, UnsupportedFormat
from mien.realtime import Discard, Synthetic, pipeline
from mien.video import Frame
from mien_export.export import export

WIDTHS = (6, 8, 10)  # of the encoder's stages, one convolution each
DECODER = ((10, 8), (8, 8, 6), (6, 3))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    found = {"encoder.conv0.weight": torch.randn(3, 3, 1, 1), "encoder.conv0.bias": torch.randn(3)}
    for stage, (a, b) in enumerate(pairwise((3, *WIDTHS)), 1):
        found[f"encoder.conv{stage}1.weight"] = 0.3 * torch.randn(b, a, 3, 3)
        found[f"encoder.conv{stage}1.bias"] = torch.randn(b)
    for s, stage_widths in enumerate(DECODER):
        for i, (a, b) in enumerate(pairwise(stage_widths)):
            found[f"decoder.stages.{s}.{i}.weight"] = 0.1 * torch.randn(b, a, 3, 3)
            found[f"decoder.stages.{s}.{i}.bias"] = 0.1 * torch.randn(b)
    folder = tmp_path_factory.mktemp("adain")
    torch.save(found, folder / "adain.pt")
    export("adain", folder / "adain.pt", folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def studio(bundle: Path) -> Iterator[Studio]:
    with Studio(bundle, backend="ort", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("film") / "in.mp4", Film(sounds=[Sound()]))


@pytest.fixture
def style(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (32, 40, 3), np.uint8)


def test_each_frame_is_what_stylize_draws(studio: Studio, source: Path, style: np.ndarray) -> None:
    frames = list(studio.stylize_video(source, style=style, strength=0.5, keep_colour=True))
    assert [frame.pts * frame.time_base for frame in frames] == times(source)
    for frame, stored in zip(frames[:3], seen(source), strict=False):
        wanted = studio.stylize(stored, style, strength=0.5, keep_colour=True).array
        assert np.abs(frame.picture.astype(int) - wanted).mean() < 2


def test_a_style_is_encoded_once(
    studio: Studio, source: Path, style: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    engine = studio._networks["adain"]
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda graph, **feeds: ran.append(graph) or run(graph, **feeds)
    )
    frames: Iterator[Frame] = studio.stylize_video(source, style=[style, style[::-1]])
    assert len(list(frames)) == 20
    assert ran.count("style") == 2
    assert ran.count("transfer") == 20


def test_a_video_is_written_with_its_sound(
    studio: Studio, source: Path, style: np.ndarray, tmp_path: Path
) -> None:
    made = studio.stylize_video(source, tmp_path / "out.mp4", style=style, also=["side-by-side"])
    assert (made.frames, made.sounds) == (20, 1)
    assert times(tmp_path / "out.mp4") == times(source)
    assert heard(tmp_path / "out.mp4") == heard(source)
    beside = seen(tmp_path / "out-side-by-side.mp4")[4]
    assert np.abs(beside[:, :64] - scene(4).astype(int)).mean() < 6


def test_another_strength_does_not_go_on_with_a_broken_run(
    studio: Studio, source: Path, style: np.ndarray
) -> None:
    settings = [dict(studio.style_edit(style, strength=s).settings) for s in (1.0, 0.5)]
    assert settings[0] != settings[1]
    with pytest.raises(InputError, match="strength is 2"):
        next(studio.stylize_video(source, style=style, strength=2))


def test_the_command_line_goes_the_whole_way(
    bundle: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.mp4")
    run = ["video", str(source), out, "--bundle", str(bundle), "--backend", "ort"]
    assert main([*run, "--style", "mosaic", "--smooth", "0.5", "--also", "side-by-side"]) == 0
    assert "out.mp4: 20 frames" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4", "out-side-by-side.mp4"}
    assert main([*run, "--style", "mosaic", "--style", "waves", "--weights", "1,3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["frames"], record["sounds"], record["lost"]) == (20, 1, 0)
    gif = [*run[:2], str(tmp_path / "out.gif"), *run[3:], "--style", "waves", "--side", "32"]
    assert main(gif) == 1
    assert "cannot hold the sound" in capsys.readouterr().err
    assert main([*gif, "--no-sound"]) == 0
    assert "without audio aac eng" in capsys.readouterr().out
    assert main(run) == 1
    assert "no edit was asked for. Name one: --style" in capsys.readouterr().err


def test_ctrl_c_leaves_a_way_on(
    bundle: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The signal comes while the seventh frame is drawn."""
    from mien import style_verbs as home

    drawn, draw = iter(range(100)), home.stylize

    def interrupted(*args: object, **kwargs: object) -> object:
        if next(drawn) == 6:
            signal.raise_signal(signal.SIGINT)
        return draw(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(home, "stylize", interrupted)
    out = str(tmp_path / "out.mp4")
    run = ["video", str(source), out, "--bundle", str(bundle), "--backend", "ort"]
    assert main([*run, "--style", "mosaic"]) == 130
    said = capsys.readouterr().err
    assert "out.partial.mp4 holds what is done, the same command goes on" in said
    assert 4 <= len(seen(tmp_path / "out.partial.mp4")) <= 9
    assert main([*run, "--style", "mosaic"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4"}


def test_a_live_run_is_reported_and_ends_with_ctrl_c(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["webcam", "synthetic", "--style", "mosaic", "--bundle", str(bundle), "--side", "32"]
    run += ["--backend", "ort", "--view", "none", "--json"]
    before = set(threading.enumerate())
    shown: list[np.ndarray] = []
    monkeypatch.setattr(Discard, "show", lambda _, picture: shown.append(picture))
    with monkeypatch.context() as patched:
        clock = SimpleNamespace(perf_counter=lambda: 0.1 * len(shown))  # a picture, a tenth
        patched.setattr(pipeline, "time", clock)
        assert main([*run, "--seconds", "0.5", "--smooth", "0.5"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["ended"], record["shown"]) == ("seconds", 6)
    assert set(record["frame_ms"]) == {"p50", "p95", "p99"}

    def interrupts(viewer: Discard, picture: np.ndarray) -> None:
        shown.append(picture)
        if len(shown) == 3:
            signal.raise_signal(signal.SIGINT)

    shown.clear()
    monkeypatch.setattr(Discard, "show", interrupts)
    assert main([*run, "--seconds", "600"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["ended"], record["shown"]) == ("stop", 3)
    started = set(threading.enumerate()) - before
    assert not [thread.name for thread in started if thread.name.startswith("mien ")]
    assert main([*run[:1], "synthetic", "--view", "none"]) == 1
    assert "no edit was asked for" in capsys.readouterr().err


def test_a_studio_shows_live_pictures(studio: Studio, style: np.ndarray) -> None:
    source, watch = Synthetic(side=32, frames_per_second=None, seconds=0.4), Watch()
    report = studio.stylize_live(Patient(source, watch), watch, style=style, still=0)
    assert (report.ended, report.drawn, len(watch.pictures)) == ("source", 12, 12)


@pytest.mark.slow
def test_a_talking_face_keeps_times_and_sound(studio: Studio, shared: Path, tmp_path: Path) -> None:
    talk = shared / "data" / "video" / "d18.mp4"
    if not talk.is_file():
        pytest.skip("the shared video is not there")
    made = studio.stylize_video(talk, tmp_path / "out.mp4", style="mosaic", side=128)
    assert made.frames == 216
    assert times(tmp_path / "out.mp4") == times(talk)
    assert heard(tmp_path / "out.mp4") == heard(talk)


def test_what_is_no_picture_of_a_style_is_said(studio: Studio, source: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        studio.stylize_video(source, style=str(source))
