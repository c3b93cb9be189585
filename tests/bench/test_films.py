"""Films: the clip is what it says, what is kept is found out by others' eyes, frames are timed."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.virtual import Virtual

import mien
from mien.bench import Plan, films, measure, verbs, works
from mien.bench.films import CLOCK, FRAMES, ROOM, STEPS, Reel, film_accuracy
from mien.bench.html import page
from mien.bench.scenarios import film_after_film
from mien.bench.verbs import prepared
from mien.errors import DeviceOutOfMemory, InputError, MissingDependency, RunError
from mien.video import FrameEdit, convert
from mien_engines.backends import get

pytest.importorskip("av")
from tests.video.films import Film, Sound, decoded_sound, heard, inverted, make, seen, times

U8 = NDArray[np.uint8]
SIDE = 64


@pytest.fixture
def photo() -> U8:
    """Slopes that chroma subsampling leaves as they are."""
    x, y = np.meshgrid(*2 * [np.linspace(40, 210, SIDE + ROOM)])
    return np.stack([x, y, (x + y) / 2], 2).astype(np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def edit(draw: Any = inverted) -> FrameEdit:
    return FrameEdit(draw, ("invert",), settings={"edit": "invert"})


def test_a_clip_pans_at_a_varying_rate_and_has_a_tone(photo: U8) -> None:
    with Reel(edit(), photo) as reel:
        moments, pictures = times(reel.source), seen(reel.source)
        (sound,) = heard(reel.source)
        wave = np.concatenate([block[0] for block in decoded_sound(reel.source)])
    steps = [STEPS[i % len(STEPS)] for i in range(FRAMES)]
    assert moments == [t * CLOCK for t in accumulate(steps[:-1], initial=0)]
    assert len(set(steps)) > 1
    assert all(picture.shape == (SIDE, SIDE, 3) for picture in pictures)
    for i, picture in enumerate(pictures):
        window = photo[ROOM // 2 :, 2 * i :][:SIDE, :SIDE].astype(float)
        assert np.abs(picture - window).mean() < 3
    assert len(sound) > 10
    spectrum = np.abs(np.fft.rfft(wave[4096:36864]))
    assert np.argmax(spectrum) * 48000 / 32768 == pytest.approx(440, abs=2)


def test_a_film_is_made_in_a_folder_of_its_own_that_is_removed(photo: U8, folder: Path) -> None:
    with Reel(edit(), photo) as reel:
        (own,) = folder.iterdir()
        if os.name == "posix":
            assert stat.S_IMODE(own.stat().st_mode) == 0o700
        for _ in range(2):
            moments = reel()
            assert len(moments) == FRAMES
            assert moments == sorted(moments)
        assert sorted(path.name for path in own.iterdir()) == ["clip.mp4", "film.mp4"]
        assert times(reel.output) == times(reel.source)
        assert heard(reel.output) == heard(reel.source)
    assert list(folder.iterdir()) == []


def test_a_clip_that_cannot_be_drawn_leaves_nothing(
    photo: U8, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(RunError, match="a clip of 1 px cannot be written to"),
        Reel(edit(), photo[: ROOM + 1, : ROOM + 1]),
    ):
        pass  # x264 takes even sides alone
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "none"))
    with (
        pytest.raises(RunError, match=r"no place for a clip: No such file.*TMPDIR"),
        Reel(edit(), photo),
    ):
        pass


def test_what_is_shown_is_what_was_drawn_but_for_the_codec(photo: U8) -> None:
    with Reel(edit(), photo) as reel:
        reel()
        shown, drawn = reel.shown(), reel.drawn()
        whole = seen(reel.source)
    assert len(shown) == len(drawn) == len(range(0, FRAMES, 4))
    for one, two in zip(drawn, whole[::4], strict=True):
        assert np.abs(one.astype(int) - (255 - two.astype(int))).mean() < 2
    found = film_accuracy(shown, drawn)
    assert found.value is not None
    assert 0 < found.value < 0.02
    other = film_accuracy([255 - picture for picture in shown], drawn)
    assert other.value is not None
    assert other.value > 0.1


def test_a_films_accuracy_is_the_root_mean_square_without_what_even_sides_add(
    rng: np.random.Generator,
) -> None:
    drawn = [rng.integers(0, 200, (5, 7, 3), np.uint8) for _ in range(3)]
    shown = [np.pad(picture, ((0, 1), (0, 1), (0, 0)), mode="edge") for picture in drawn]
    assert film_accuracy(shown, drawn).value == 0
    assert film_accuracy(shown, drawn).detail.startswith("equal; 24 frames at their times")
    shown[1][2, 3, 0] += 9
    found = film_accuracy(shown, drawn)
    squares = 81 / (3 * 5 * 7 * 3)
    assert found.value == pytest.approx(np.sqrt(squares) / 255)
    assert found.detail.startswith(f"PSNR {10 * np.log10(255**2 / squares):.1f} dB")


PTS = tuple(round(t / CLOCK) for t in accumulate([s * CLOCK for s in STEPS * 8][:-1], initial=0))
LATE = (*PTS[:9], PTS[9] + 1, *PTS[10:])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Film(pts=PTS[:-1]), "the film has 23 frames, its clip 24"),
        (Film(pts=LATE), r"frame 9 of the film is shown at 0\.400433 s, in its clip at 0\.400400"),
        (Film(pts=PTS), "the film's sound is not its clip's, packet by packet"),
        (Film(pts=PTS, sounds=(Sound(blocks=50),)), "the film's sound is not its clip's"),
    ],
)
def test_a_film_that_does_not_keep_what_it_promises_is_an_error(
    photo: U8, made: Film, message: str
) -> None:
    with Reel(edit(), photo) as reel:
        make(reel.output, made)
        with pytest.raises(RunError, match=message):
            reel.shown()


def test_what_is_timed_is_from_one_finished_frame_to_the_next() -> None:
    """Opening takes 5 s, a frame 1 s or 3 s, writing the file 2 s."""
    clock = Virtual()

    def film_of(frame: float) -> Any:
        def call() -> list[float]:
            clock.time += 5
            moments = []
            for _ in range(4):
                clock.time += frame
                moments.append(clock.time)
            clock.time += 2
            return moments

        return lambda: call

    found = film_after_film({"a": film_of(1.0), "b": film_of(3.0)}, films=3, clock=clock)
    assert found["a"].rounds == [[1.0] * 3] * 3
    assert found["b"].rounds == [[3.0] * 3] * 3
    assert found["a"].per_second == pytest.approx(4 / (5 + 4 + 2))
    assert found["b"].per_second == pytest.approx(4 / (5 + 12 + 2))


class Studio:
    """Inverts frames; with some backends it fails at a certain frame of all."""

    def __init__(self, name: str, fails: dict[str, int]) -> None:
        self.name, self.left = name, fails.get(name, 10**9)

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def style_edit(self, style: str) -> FrameEdit:
        def draw(picture: U8) -> U8:
            self.left -= 1
            if self.left < 0:
                raise DeviceOutOfMemory("the device has no 9 GB left")
            return inverted(picture)

        return edit(draw)


@pytest.fixture
def fails(photo: U8, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """At which frame backends fail; the verb film is of the studio above."""
    found: dict[str, int] = {}
    monkeypatch.setattr(verbs, "portrait", lambda side: photo)
    monkeypatch.setattr(
        verbs, "studio_for", lambda verb, bundle, name, threads: Studio(name, found)
    )
    monkeypatch.setattr(works, "get", lambda name: get("ort"))
    return found


@pytest.mark.parametrize(("at", "stage"), [(3, "first call"), (60, "timing")])
def test_films_are_measured_in_turn_and_one_that_fails_leaves(
    fails: dict[str, int], folder: Path, at: int, stage: str
) -> None:
    fails["trt"] = at
    backends = ("ort", "ov", "trt")
    found = measure(Plan(verbs=("film",), backends=backends, calls=40, side=SIDE))
    assert [case.who for case in found.cases] == ["ort", "ov"]
    for case in found.cases:
        assert [len(times) for times in case.rounds_ms] == [FRAMES - 1] * 2
        seconds = 2 * FRAMES / case.per_second
        assert seconds > sum(map(sum, case.rounds_ms)) / 1e3
        assert case.allocations is None
        assert case.accuracy is not None
        assert case.accuracy.value is not None
        assert 0 < case.accuracy.value < 0.02
        assert "24 frames at their times, sound as it was" in case.accuracy.detail
    assert [(one.who, one.stage, one.code) for one in found.failures] == [
        ("trt", stage, "DeviceOutOfMemory")
    ]
    assert found.failures[0].reason.startswith("frame ")
    assert [c.case for c in found.comparisons] == ["film, ov"]
    assert "<h2>film, frame by frame</h2>" in page(found)
    assert list(folder.iterdir()) == []


def test_a_film_without_its_sound_is_a_failure(
    fails: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "convert", lambda *paths, **how: convert(*paths, sound=False, **how))
    found = measure(Plan(verbs=("film",), backends=("ort",), calls=10, side=SIDE))
    (failure,) = found.failures
    assert (failure.stage, failure.code) == ("accuracy", "RunError")
    assert failure.reason == "the film's sound is not its clip's, packet by packet"
    assert not found.cases


def test_a_films_files_are_gone_when_its_verb_is(fails: dict[str, int], folder: Path) -> None:
    with prepared("film", Studio("ort", fails), 63) as call:  # type: ignore[arg-type]
        assert len(call()) == FRAMES
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_how_many_films_are_made_is_said_by_frames_or_seconds(fails: dict[str, int]) -> None:
    (one,) = measure(Plan(verbs=("film",), backends=("ort",), calls=3, side=SIDE)).cases
    assert len(one.rounds_ms) == 2
    (one,) = measure(Plan(verbs=("film",), backends=("ort",), seconds=0.01, side=SIDE)).cases
    assert len(one.rounds_ms) == 5


@pytest.mark.parametrize("asked", [{"scenario": "server"}, {"scenario": "offline"}, {"cold": True}])
def test_films_are_measured_one_after_another(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the verb film is measured film after film"):
        Plan(verbs=("film",), **asked)


def test_films_need_pyav_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match=r"video needs PyAV.*mien\[video\]"):
        measure(Plan(verbs=("film",)))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["film", "face-film"])
def test_a_film_of_the_demos_is_measured_and_checked(verb: str, folder: Path) -> None:
    if not (mien.bundles.BUILT_IN / "demo" / "bundle.json").is_file():  # type: ignore[attr-defined]
        pytest.skip("the demo bundle is not built")
    found = measure(Plan(verbs=(verb,), backends=("ort",), calls=20, threads=1, side=128))
    (case,) = found.cases
    assert case.summary.count == 2 * (FRAMES - 1)
    assert case.accuracy is not None
    assert case.accuracy.value is not None
    assert 0 < case.accuracy.value < 0.1
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_fresh_process_makes_a_film(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (mien.bundles.BUILT_IN / "demo" / "bundle.json").is_file():  # type: ignore[attr-defined]
        pytest.skip("the demo bundle is not built")
    from mien.bench.starts import starts

    cold, warm = starts("film", "ort", count=1, bundle=None, verb="film", side=64)
    assert cold.call_s > 0
    assert warm.total_s > warm.call_s
