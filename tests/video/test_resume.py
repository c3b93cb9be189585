"""A run that is broken off anywhere ends, gone on with, in the file of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.video.films import Film, Sound, heard, inverted, make, seen, times

from mien.errors import Cancelled, CorruptFile, InputError
from mien.video import FrameEdit, Progress, convert, open_video
from mien.video.convert import SEGMENT

FRAMES = 2 * SEGMENT + 10
UNEVEN = tuple(np.cumsum(np.random.default_rng(3).integers(300, 3000, FRAMES)).tolist())
FILM = Film(pts=UNEVEN, sounds=[Sound(blocks=400)])
OPTIONS = {"smoothing": 0.6, "also": ["side-by-side"]}
ROOT = Path(__file__).parents[2]
FOLDERS = [str(ROOT), *(str(ROOT / name) for name in ("sdk", "engines"))]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(FOLDERS)}
SCRIPT = """
import sys, time
from pathlib import Path
from tests.video.films import inverted
from mien.video import convert

def slow(picture):
    time.sleep(0.004)
    return inverted(picture)

def tell(done):
    print(done.frames, flush=True)
    while done.frames == done.of - 1:  # who kills it may come late
        time.sleep(1)

slow.__name__ = "inverted"
convert(sys.argv[1], sys.argv[2], slow, smoothing=0.6, also=["side-by-side"], callback=tell)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("source") / "in.mp4", FILM)


@pytest.fixture(scope="module")
def unbroken(source: Path) -> dict[str, bytes]:
    made = convert(source, source.with_name("whole.mp4"), inverted, **OPTIONS)
    assert (made.frames, made.resumed_at) == (FRAMES, 0)
    assert heard(source.with_name("whole.mp4")) == heard(source)
    return {path.name.replace("whole", "out"): path.read_bytes() for path in made.outputs}


def stopped_at(frame: int) -> dict[str, object]:
    """Arguments that break a run off behind a frame."""
    stop = threading.Event()

    def look(done: Progress) -> None:
        if done.frames == frame:
            stop.set()

    return {"stop": stop, "callback": look}


@pytest.mark.parametrize("frame", [1, SEGMENT - 1, SEGMENT, 2 * SEGMENT + 1])
def test_a_cancelled_run_goes_on_to_the_same_bits(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path, frame: int
) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(Cancelled, match=r"out.partial.mp4 holds what is done"):
        convert(source, out, inverted, **OPTIONS, **stopped_at(frame))
    assert not out.exists()
    partial = tmp_path / "out.partial.mp4"
    assert times(partial) == times(source)[:frame]  # stopped within a frame, and playable
    if frame > 20:
        track = heard(partial)[0]
        assert track == heard(source)[0][: len(track)]
        assert float(times(partial)[-1]) - 0.2 < track[-1][0] < float(times(partial)[-1]) + 0.2
    made = convert(source, out, inverted, **OPTIONS)
    assert made.resumed_at == frame // SEGMENT * SEGMENT
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == unbroken


def killed_at(source: Path, out: Path, frame: int) -> None:
    """Run in a process of its own, which nothing warns before it ends."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), source, out],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == frame:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL


def check_killed(source: Path, unbroken: dict[str, bytes], folder: Path, frames: list[int]) -> None:
    out = folder / "out.mp4"
    for frame in frames:
        killed_at(source, out, frame)
        assert not out.exists()
        for film in (folder / "out.mp4.parts").glob("*.mp4"):
            assert len(seen(film)) == SEGMENT  # what is done can be played
    made = convert(source, out, inverted, **OPTIONS)
    assert made.resumed_at >= frames[-1] // SEGMENT * SEGMENT - SEGMENT
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == unbroken
    assert times(out) == times(source)
    assert heard(out) == heard(source)


def test_a_run_killed_twice_goes_on_to_the_same_bits(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    check_killed(source, unbroken, tmp_path, [SEGMENT + 9, 2 * SEGMENT + 5])


@pytest.mark.slow
@pytest.mark.parametrize("frame", np.random.default_rng(5).integers(1, FRAMES, 20).tolist())
def test_a_run_killed_at_any_frame_goes_on_to_the_same_bits(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path, frame: int
) -> None:
    check_killed(source, unbroken, tmp_path, [frame])


def test_a_gif_that_is_broken_off_goes_on_to_the_same_bits(source: Path, tmp_path: Path) -> None:
    options = {"sound": False, "smoothing": 0.3}
    whole = convert(source, tmp_path / "whole.gif", inverted, **options).outputs[0].read_bytes()
    with pytest.raises(Cancelled):
        convert(source, tmp_path / "out.gif", inverted, **options, **stopped_at(SEGMENT + 3))
    assert len(seen(tmp_path / "out.partial.gif")) > SEGMENT / 2
    made = convert(source, tmp_path / "out.gif", inverted, **options)
    assert made.resumed_at == SEGMENT
    assert made.outputs[0].read_bytes() == whole
    assert {p.name for p in tmp_path.iterdir()} == {"whole.gif", "out.gif"}


def test_an_error_in_the_middle_keeps_what_is_done(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    calls = iter(range(10_000))

    def draw(picture: np.ndarray) -> np.ndarray:
        if next(calls) == SEGMENT + 5:
            raise RuntimeError("the network is gone")
        return inverted(picture)

    edit = FrameEdit(draw, ("inverted",), settings={"function": "inverted"})
    with pytest.raises(RuntimeError, match="the network is gone"):
        convert(source, tmp_path / "out.mp4", edit, **OPTIONS)
    assert len(seen(tmp_path / "out.partial.mp4")) >= SEGMENT
    assert convert(source, tmp_path / "out.mp4", inverted, **OPTIONS).resumed_at == SEGMENT
    assert (tmp_path / "out.mp4").read_bytes() == unbroken["out.mp4"]


def test_other_arguments_do_not_go_on_with_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(Cancelled):
        convert(source, out, inverted, **stopped_at(3))
    for changes, match in (
        ({"smoothing": 0.5}, "another smoothing: 0.0, now 0.5"),
        ({"side": 32}, "another side: None, now 32"),
        ({"edit": lambda picture: picture}, "another edit: inverted, now <lambda>"),
    ):
        with pytest.raises(InputError, match=match):
            convert(**{"source": source, "output": out, "edit": inverted} | changes)
    made = convert(source, out, inverted, side=32, restart=True)
    assert (made.frames, made.resumed_at) == (FRAMES, 0)


def test_two_processes_do_not_make_one_file(source: Path, tmp_path: Path) -> None:
    def look(done: Progress) -> None:
        if done.frames == 1:
            with pytest.raises(InputError, match=r"out.mp4 is being made by another process"):
                convert(source, tmp_path / "out.mp4", inverted)

    convert(source, tmp_path / "out.mp4", inverted, callback=look)
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4"}


@pytest.mark.parametrize("name", ["run.json", "00000000.json", "00000048.npz"])
def test_a_damaged_record_is_said(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(Cancelled):
        convert(source, out, inverted, **stopped_at(SEGMENT + 1))
    (tmp_path / "out.mp4.parts" / name).write_bytes(b"{")
    with pytest.raises(CorruptFile, match=rf"{name} is not the record of a run.*--restart"):
        convert(source, out, inverted)
    assert convert(source, out, inverted, restart=True).frames == FRAMES


FULL = """
import resource, signal, sys
from tests.video.films import inverted
from mien.errors import InputError
from mien.video import convert

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    convert(sys.argv[1], sys.argv[2], inverted, smoothing=0.6, also=["side-by-side"])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("part", [0.1, 0.9], ids=["a segment", "the joined file"])
def test_a_full_disk_is_said_and_gone_on_from(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path, part: float
) -> None:
    """The limit of a file's size stands for a disk without space: writing fails in the middle."""
    limit = str(int(part * len(unbroken["out.mp4"])))
    done = subprocess.run(
        [sys.executable, "-c", FULL, source, tmp_path / "out.mp4", limit],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written: File too large" in done.stdout
    assert "the same command then goes on from here" in done.stdout
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.glob("**/*.part"))
    convert(source, tmp_path / "out.mp4", inverted, **OPTIONS)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == unbroken


def test_progress_tells_frames_speed_and_time_left(source: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    convert(source, tmp_path / "out.mp4", inverted, callback=told.append)
    assert [done.frames for done in told] == list(range(1, FRAMES + 1))
    assert {done.of for done in told} == {FRAMES}
    assert told[-1].seconds_left == 0
    assert all(done.frames_per_second > 0 for done in told)


def test_the_record_of_a_result_is_json(source: Path, tmp_path: Path) -> None:
    made = convert(source, tmp_path / "out.mp4", inverted)
    assert json.loads(json.dumps(made.record(), default=str))["frames"] == FRAMES
    assert open_video(source).facts.frames == FRAMES
