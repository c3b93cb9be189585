"""GIFs: every frame whole, delays and loop counts kept, against another reader."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.video.films import Film, make, times

from mien import provenance
from mien.errors import DecodeError
from mien.video import convert, open_video
from mien.video.gif import schedule

DELAYS = [20, 150, 0, 30, 10, 1000, 70]  # ms


def same(picture: np.ndarray) -> np.ndarray:
    return picture


def flat(index: int) -> Image.Image:
    """A flat colour with a square that moves: what a palette of a few colours holds exactly."""
    picture = np.full((30, 40, 3), (10 * index, 90, 200), np.uint8)
    picture[5:15, 4 * index : 4 * index + 8] = (250, 250 - 20 * index, 0)
    return Image.fromarray(picture)


def written(path: Path, loop: int | None = 0, disposal: int = 0) -> Path:
    first, *rest = [flat(i) for i in range(len(DELAYS))]
    options = {} if loop is None else {"loop": loop}
    first.save(
        path, save_all=True, append_images=rest, duration=DELAYS, disposal=disposal, **options
    )
    return path


def parts(path: Path) -> tuple[list[int], int | None]:
    """Delays in ms and the loop count, read by Pillow."""
    with Image.open(path) as image:
        found = []
        for i in range(image.n_frames):
            image.seek(i)
            found.append(image.info.get("duration", 0))
        return found, image.info.get("loop")


@pytest.mark.parametrize("loop", [0, 3, None])
@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_delays_loop_and_pictures_are_kept(tmp_path: Path, loop: int | None, disposal: int) -> None:
    source = written(tmp_path / "in.gif", loop, disposal)
    made = convert(source, tmp_path / "out.gif", same)
    assert parts(tmp_path / "out.gif") == (DELAYS, loop) == parts(source)
    assert (made.frames, made.dropped) == (len(DELAYS), 0)
    with av.open(str(tmp_path / "out.gif")) as file:  # FFmpeg's reader
        for i, frame in enumerate(file.decode(video=0)):
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), np.asarray(flat(i)))


def test_frames_that_are_drawn_on_those_before_are_whole(tmp_path: Path) -> None:
    """Pillow stores what changed alone; FFmpeg lays it together independently."""
    source = written(tmp_path / "in.gif", disposal=1)
    frames = [frame.picture for frame in open_video(source).frames()]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, np.asarray(flat(i)))


def test_what_is_clear_shows_paper(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (20, 16), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (0, 0, 10, 16))
    clear.save(tmp_path / "in.gif", save_all=True, append_images=[clear.rotate(180)], disposal=2)
    first, second = (frame.picture for frame in open_video(tmp_path / "in.gif").frames())
    assert first[8, 2].tolist() == second[8, 18].tolist() == [200, 0, 0]
    assert first[8, 18].tolist() == second[8, 2].tolist() == [255, 255, 255]


def test_a_gif_becomes_a_video_at_the_times_of_browsers(tmp_path: Path) -> None:
    """A delay below two hundredths of a second is shown as ten."""
    source = written(tmp_path / "in.gif")
    convert(source, tmp_path / "out.mp4", same)
    shown = np.cumsum([0, *[d if d >= 20 else 100 for d in DELAYS[:-1]]])
    assert times(tmp_path / "out.mp4") == [Fraction(int(ms), 1000) for ms in shown]


def test_a_video_becomes_a_gif_without_drift(tmp_path: Path) -> None:
    pts = [1001 * i for i in range(60)]  # 29.97 fps: 3.3367 hundredths
    source = make(tmp_path / "in.mp4", Film(pts=pts, size=(32, 32)))
    made = convert(source, tmp_path / "out.gif", same)
    delays, loop = parts(tmp_path / "out.gif")
    assert (made.frames, made.dropped, loop) == (60, 0, 0)
    starts = np.cumsum([0, *delays[:-1]])
    assert np.abs(starts - np.array(pts) / 30).max() <= 5  # ms: never more than rounding
    assert sum(delays) == round(60 * 100100 / 30000) * 10


def test_frames_faster_than_browsers_show_are_dropped_and_counted(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=[500 * i for i in range(60)], size=(32, 32)))
    made = convert(source, tmp_path / "out.gif", same)  # 60 fps for a second
    delays, _ = parts(tmp_path / "out.gif")
    assert min(delays) >= 20
    last = list(open_video(source).frames())[-1]
    assert sum(delays) == 10 * round((last.pts + last.duration) / 300)
    assert (made.frames, made.frames + made.dropped) == (len(delays), 60)


@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_fills_the_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pts = np.cumsum(rng.integers(1, 4000, 50)).tolist()
    found = schedule(pts, 1500, Fraction(1, 30000))
    numbers, delays = zip(*found, strict=True)
    assert numbers[0] == 0
    assert min(delays) >= 2
    at = 100 * pts[0] / 30000
    for number, delay in found:
        assert abs(at - 100 * pts[number] / 30000) <= 1
        at += delay


def test_large_and_noisy_pictures_stay_near(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (2, 37, 53, 3), np.uint8)
    film = [Image.fromarray(picture) for picture in noise]
    film[0].save(tmp_path / "in.gif", save_all=True, append_images=film[1:], duration=50)
    before = [frame.picture.astype(int) for frame in open_video(tmp_path / "in.gif").frames()]
    convert(tmp_path / "in.gif", tmp_path / "out.gif", same)
    for old, new in zip(before, open_video(tmp_path / "out.gif").frames(), strict=True):
        assert np.abs(old - new.picture).mean() < 3


def test_a_damaged_gif_gives_what_it_has_or_says_so(tmp_path: Path) -> None:
    data = written(tmp_path / "in.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: int(0.6 * len(data))])
    made = convert(tmp_path / "cut.gif", tmp_path / "out.gif", same)
    assert 0 < made.frames < len(DELAYS)
    (tmp_path / "head.gif").write_bytes(data[:20])
    with pytest.raises(DecodeError, match=r"head.gif is no GIF that can be read"):
        convert(tmp_path / "head.gif", tmp_path / "no.gif", same)


def test_frames_are_scaled(tmp_path: Path) -> None:
    source = written(tmp_path / "in.gif")
    made = convert(source, tmp_path / "out.gif", same, side=60)
    with Image.open(made.outputs[0]) as image:
        assert image.size == (80, 60)
    assert provenance.read(made.outputs[0]) is not None
