"""Times and sound go through unchanged: exactly, and bit for bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.video.films import Film, Sound, decoded_sound, heard, inverted, make, scene, seen, times

from mien import provenance
from mien.errors import InputError
from mien.video import convert, edited, open_video

UNEVEN = tuple(np.cumsum([0, *[600, 4500] * 9, 600, 30000]).tolist())  # 20 ms, 150 ms, 1 s
OFFSET = tuple(3003 + 1001 * i for i in range(20))


@pytest.mark.parametrize(
    "pts", [Film().pts, UNEVEN, OFFSET, (0,)], ids=["29.97", "vfr", "offset", "one"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_every_frame_keeps_its_time(tmp_path: Path, pts: tuple[int, ...], suffix: str) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=pts, sounds=[Sound()]))
    made = convert(source, tmp_path / f"out{suffix}", inverted)
    assert times(tmp_path / f"out{suffix}") == [p * Fraction(1, 30000) for p in pts]
    assert (made.frames, made.lost, made.damaged) == (len(pts), 0, 0)


def test_the_last_frame_keeps_its_duration(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=UNEVEN))
    convert(source, tmp_path / "out.mp4", inverted)
    lengths = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            lengths.append(stream.duration * stream.time_base)
    assert lengths[0] == lengths[1]


def test_matroska_takes_times_that_it_can_state_and_refuses_others(tmp_path: Path) -> None:
    even = make(tmp_path / "25.mp4", Film(pts=range(0, 12000, 1200), sounds=[Sound()]))
    convert(even, tmp_path / "out.mkv", inverted)
    assert times(tmp_path / "out.mkv") == times(even)
    fast = make(tmp_path / "29.mp4")
    with pytest.raises(
        InputError, match=r"at 0.033367 s cannot be written exactly.*\.mp4 or \.mov"
    ):
        convert(fast, tmp_path / "no.mkv", inverted)
    assert not (tmp_path / "no.mkv").exists()


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_milliseconds_of_matroska_go_through(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / "in.mkv", Film(pts=UNEVEN, sounds=[Sound("libopus")]))
    convert(source, tmp_path / f"out{suffix}", inverted)
    before, after = times(source), times(tmp_path / f"out{suffix}")
    assert before == after
    assert [b for _, b in heard(source)[0]] == [b for _, b in heard(tmp_path / f"out{suffix}")[0]]


@pytest.mark.parametrize(
    "sounds",
    [
        [Sound()],
        [Sound(), Sound("libmp3lame", language="deu")],
        [Sound(blocks=90)],  # longer than the video
        [Sound(start=9600)],  # begins 0.2 s later
        [Sound("flac", rate=44100)],
    ],
    ids=["one", "two", "longer", "later", "44100"],
)
@pytest.mark.parametrize("pts", [Film().pts, OFFSET], ids=["from 0", "offset"])
def test_sound_is_copied_bit_for_bit_at_its_time(
    tmp_path: Path, sounds: list[Sound], pts: tuple[int, ...]
) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=pts, sounds=sounds))
    made = convert(source, tmp_path / "out.mp4", inverted)
    before, after = heard(source), heard(tmp_path / "out.mp4")
    assert before == after  # bytes, and times against those of the frames, which are kept too
    assert made.sounds == len(sounds)
    assert all(len(track) > 5 for track in after)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert [s.language for s in file.streams.audio] == [s.language for s in sounds]


def test_the_sound_decodes_to_the_same_samples(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(sounds=[Sound()]))
    convert(source, tmp_path / "out.mov", inverted)
    before, after = list(decoded_sound(source)), list(decoded_sound(tmp_path / "out.mov"))
    np.testing.assert_array_equal(np.hstack(before), np.hstack(after))


def test_sound_that_a_container_cannot_hold_is_an_error_before_any_frame_is_drawn(
    tmp_path: Path,
) -> None:
    source = make(tmp_path / "in.mkv", Film(sounds=[Sound("libmp3lame")]))

    def never(picture: np.ndarray) -> np.ndarray:
        raise AssertionError("a frame was drawn")

    with pytest.raises(InputError, match=r"cannot hold the sound of .*in.mkv \(mp3") as raised:
        convert(source, tmp_path / "out.webm", never)
    assert ".mkv" in raised.value.hint
    assert "--no-sound" in raised.value.hint
    with pytest.raises(InputError, match=r"GIFs are silent"):
        convert(source, tmp_path / "out.gif", never)
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}
    made = convert(source, tmp_path / "out.webm", inverted, sound=False)
    assert heard(tmp_path / "out.webm") == []
    assert made.left_out == ("audio mp3float eng",)


def test_the_pictures_are_those_of_the_edit(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4")
    convert(source, tmp_path / "out.mp4", inverted, also=["side-by-side"])
    for i, picture in enumerate(seen(tmp_path / "out.mp4")):
        wanted = 255 - scene(i).astype(int)
        assert np.abs(picture[4:12, 4:16] - wanted[4:12, 4:16]).mean() < 8  # red becomes cyan
        assert np.abs(picture - wanted).mean() < 6
    both = seen(tmp_path / "out-side-by-side.mp4")
    assert both[0].shape == (48, 128, 3)
    assert np.abs(both[5][:, :64] - scene(5).astype(int)).mean() < 6
    assert np.abs(both[5][:, 64:] + scene(5).astype(int) - 255).mean() < 6


def test_colours_of_hd_are_those_of_bt709(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(size=(1280, 720), pts=(0, 1001)))
    with av.open(str(source)) as file:  # an independent conversion: ITU-R BT.709, by hand
        yuv = next(file.decode(video=0)).to_ndarray(format="yuv444p").astype(float)
    y, cb, cr = (yuv[0] - 16) / 219, (yuv[1] - 128) / 224, (yuv[2] - 128) / 224
    red = 255 * (y + 1.5748 * cr).clip(0, 1)
    frame = next(open_video(source).frames())
    assert np.abs(frame.picture[100:200, 100:300, 0] - red[100:200, 100:300]).mean() < 3
    blue = 255 * (y + 1.8556 * cb).clip(0, 1)
    assert np.abs(frame.picture[100:200, 100:300, 2] - blue[100:200, 100:300]).mean() < 3


@pytest.mark.parametrize("size", [(64, 48), (33, 47), (2, 2)])
def test_sides_of_any_parity_come_out(tmp_path: Path, size: tuple[int, int]) -> None:
    film = Film(
        size=size,
        codec="ffv1",
        pix_fmt="bgr0",
        options={},
        pts=(0, 33, 67),
        time_base=Fraction(1, 1000),
    )
    source = make(tmp_path / "in.mkv", film)
    convert(source, tmp_path / "out.mp4", inverted)
    height, width = seen(tmp_path / "out.mp4")[0].shape[:2]
    assert (width, height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


@pytest.mark.parametrize("pts", [Film().pts, UNEVEN])
def test_frames_come_one_by_one_with_their_times(tmp_path: Path, pts: tuple[int, ...]) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=pts))
    frames = list(edited(source, inverted, side=24))
    assert [frame.pts for frame in frames] == list(pts)
    assert [frame.index for frame in frames] == list(range(len(pts)))
    assert {frame.picture.shape for frame in frames} == {(24, 32, 3)}


def test_a_generator_that_is_left_early_leaves_no_thread(tmp_path: Path) -> None:
    import threading

    frames = edited(make(tmp_path / "in.mp4"), inverted)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert "mien stage" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm", "out.gif"])
def test_a_film_says_who_made_it(tmp_path: Path, name: str) -> None:
    source = make(tmp_path / "in.mkv", Film(pts=(0, 40, 80), time_base=Fraction(1, 1000)))
    said = provenance.read(convert(source, tmp_path / name, inverted).outputs[0])
    assert said is not None
    assert said.edits == ("inverted",)
    assert said.sources == (provenance.digest(source),)
    assert len(seen(tmp_path / name)) == 3
    convert(source, tmp_path / name, inverted, mark=False)
    assert provenance.read(tmp_path / name) is None


def test_title_and_tags_are_kept(tmp_path: Path) -> None:
    make(tmp_path / "plain.mp4")
    with (
        av.open(str(tmp_path / "plain.mp4")) as file,
        av.open(str(tmp_path / "in.mp4"), "w") as copy,
    ):
        copy.metadata["title"] = "A walk"
        stream = copy.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", inverted)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.metadata["title"] == "A walk"
