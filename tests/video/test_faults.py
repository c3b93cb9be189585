"""Files that are turned, cut short, damaged, disguised or malicious: what comes of each."""

from __future__ import annotations

import os
import socket
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.video.films import EVEN, Film, Sound, inverted, make, scene, seen

from mien.errors import (
    DecodeError,
    InputError,
    MissingDependency,
    NoFace,
    NotFinite,
    RunError,
    UnsupportedFormat,
)
from mien.video import FrameEdit, convert, open_video
from mien.video.read import upright

FAST_START = {"movflags": "+faststart"}


def frames_of(path: Path) -> int:
    return sum(1 for _ in open_video(path).frames())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_frames_are_upright_and_so_is_the_new_file(tmp_path: Path, angle: int, flip: bool) -> None:
    """The muxer writes the matrix: turned counterclockwise, then mirrored."""
    source = make(tmp_path / "in.mp4", Film(pts=(0, 1001, 2002), rotation=angle, flip=flip))
    with av.open(str(source)) as file:
        frame = next(file.decode(video=0))
        assert flip or frame.rotation % 360 == angle
        stored = frame.to_ndarray(format="rgb24").astype(int)
    wanted = np.rot90(stored, angle // 90)
    wanted = wanted[:, ::-1] if flip else wanted
    found = next(open_video(source).frames()).picture
    assert np.abs(found - wanted).mean() < 2
    convert(source, tmp_path / "out.mp4", inverted)
    with av.open(str(tmp_path / "out.mp4")) as file:
        first = next(file.decode(video=0))
        assert first.rotation == 0
        assert np.abs(first.to_ndarray(format="rgb24") + wanted - 255).mean() < 6


def test_a_phone_held_upright_is_turned_clockwise() -> None:
    """The matrix that phones write for it is 0 1 0 / -1 0 0: what is left becomes what is up."""
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 0] = 255  # top left
    turned = upright(picture, (0, 65536, -65536, 0))
    assert turned.shape == (3, 2, 3)
    assert turned[0, 1].all()  # top right
    assert not turned[1:].any()


def test_anamorphic_pixels_stay_so_and_turn_along(tmp_path: Path) -> None:
    for rotation, wanted in ((None, Fraction(4, 3)), (90, Fraction(3, 4))):
        with av.open(str(tmp_path / "in.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
            if rotation is not None:
                stream.set_display_rotation(rotation)
            for i in range(3):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(scene(i), "rgb24")))
            file.mux(stream.encode())
        convert(tmp_path / "in.mp4", tmp_path / "out.mp4", inverted)
        with av.open(str(tmp_path / "out.mp4")) as file:
            assert file.streams.video[0].sample_aspect_ratio == wanted


def test_a_file_without_frames_or_without_video_is_said(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        track = file.add_stream("aac", rate=48000, layout="mono")
        for k in range(4):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            block.sample_rate, block.pts = 48000, 1024 * k
            file.mux(track.encode(block))
        file.mux(track.encode())
    with pytest.raises(DecodeError, match=r"sound.mp4 holds no video"):
        open_video(tmp_path / "sound.mp4")
    make(tmp_path / "none.mp4", Film(pts=(), sounds=[Sound(blocks=3)]))
    with pytest.raises(DecodeError, match=r"none.mp4 (holds no video|has no frame)"):
        frames_of(tmp_path / "none.mp4")


def test_what_is_no_video_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 200)
    (tmp_path / "empty.mp4").touch()
    whole = make(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # the index was at its end
    (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, match in {
        "text.mp4": "no video that can be read",
        "empty.mp4": "is empty",
        "half.mp4": "no video",
        "noise.mkv": "no video that can be read",
        "folder.mp4": "is not a file",
        "pipe.mp4": "is not a file",
        "missing.mp4": "cannot be read",
    }.items():
        with pytest.raises(DecodeError, match=match):
            frames_of(tmp_path / name)
        with pytest.raises(DecodeError):
            convert(tmp_path / name, tmp_path / "out.mp4", inverted)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_that_a_cut_file_lacks_are_counted(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"whole{suffix}"
    make(source, Film(pts=range(0, 40 * 40, 40), time_base=Fraction(1, 1000)))
    if suffix == ".mp4":  # with the index in front, or nothing could be read
        with (
            av.open(str(source)) as file,
            av.open(str(tmp_path / "front.mp4"), "w", container_options=FAST_START) as copy,
        ):
            stream = copy.add_stream_from_template(file.streams.video[0])
            for packet in file.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    copy.mux(packet)
        source = tmp_path / "front.mp4"
    data = source.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(0.7 * len(data))])
    made = convert(cut, tmp_path / "out.mp4", inverted)
    assert 10 < made.frames < 40
    assert len(seen(tmp_path / "out.mp4")) == made.frames
    assert abs(made.frames + made.lost - 40) <= 1
    assert convert(source, tmp_path / "out.mp4", inverted).lost == 0


def test_damage_in_the_middle_is_noticed(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=range(0, 40 * 1001, 1001)))
    data = bytearray(source.read_bytes())
    third = len(data) // 3
    noise = np.random.default_rng(1).bytes(third)
    data[third : third + len(noise) // 2] = noise[: len(noise) // 2]
    source.write_bytes(data)
    made = convert(source, tmp_path / "out.mp4", inverted)
    assert made.lost + made.damaged > 0
    assert len(seen(tmp_path / "out.mp4")) == made.frames


def test_a_playlist_is_not_followed_and_an_address_not_asked(tmp_path: Path) -> None:
    make(tmp_path / "secret.ts")
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.mp4").write_bytes((tmp_path / "list.m3u8").read_bytes())
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile secret.ts\n")
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        (tmp_path / "far.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        )

        def listen() -> None:
            try:
                asked.append(server.accept())
            except TimeoutError:
                pass

        ear = threading.Thread(target=listen)
        ear.start()
        for name in ("list.m3u8", "list.mp4", "list.ffconcat", "far.m3u8"):
            with pytest.raises(DecodeError, match="no video that can be read"):
                open_video(tmp_path / name)
        with pytest.raises(DecodeError, match="cannot be read"):
            open_video(address)
        ear.join()
    assert asked == []


def test_frames_of_another_size_in_the_middle_are_said(tmp_path: Path) -> None:
    times = {64: EVEN, 96: [pts + 60000 for pts in EVEN]}
    parts = [make(tmp_path / f"{w}.ts", Film(pts=times[w], size=(w, 48))) for w in times]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match=r"has 96 x 48 px, those before 64 x 48"):
        convert(joined, tmp_path / "out.mp4", inverted)
    assert len(seen(tmp_path / "out.partial.mp4")) > 10


def test_ten_bits_are_read_and_hdr_is_refused(tmp_path: Path) -> None:
    fine = Film(pix_fmt="yuv420p10le", options={"preset": "ultrafast", "crf": "4"})
    source = make(tmp_path / "ten.mp4", fine)
    for frame in open_video(source).frames():
        assert np.abs(frame.picture - scene(frame.index).astype(int)).mean() < 6
    for name, trc in (("PQ", 16), ("HLG", 18)):
        hdr = make(tmp_path / f"{name}.mp4", Film(pix_fmt="yuv420p10le", trc=trc))
        with pytest.raises(UnsupportedFormat, match=rf"is HDR \({name}\)"):
            frames_of(hdr)


def broken(at: int, error: Exception) -> FrameEdit:
    """An edit that fails at one frame."""
    calls = iter(range(1000))

    def draw(picture: np.ndarray) -> np.ndarray:
        if next(calls) == at:
            raise error
        return inverted(picture)

    return FrameEdit(draw, ("broken",))


@pytest.mark.parametrize("error", [NoFace("no face was found"), NotFinite("output holds NaN")])
def test_a_frame_that_fails_stops_is_held_or_is_passed(tmp_path: Path, error: Exception) -> None:
    source = make(tmp_path / "in.mp4")
    with pytest.raises(type(error), match=r"frame 7 at 0.23 s: .*out.partial.mp4 holds"):
        convert(source, tmp_path / "out.mp4", broken(7, error))
    assert len(seen(tmp_path / "out.partial.mp4")) == 7
    assert not (tmp_path / "out.mp4").exists()
    for rule in ("hold", "pass"):
        made = convert(
            source, tmp_path / "out.mp4", broken(7, error), on_failure=rule, restart=True
        )
        assert [(f.index, f.error) for f in made.failures] == [(7, type(error).__name__)]
        picture = seen(tmp_path / "out.mp4")[7].astype(int)
        wanted = 255 - scene(6).astype(int) if rule == "hold" else scene(7).astype(int)
        assert np.abs(picture - wanted).mean() < 8
        assert made.frames == 20


def test_wrong_arguments_are_said(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=(0, 1001)))
    for changes, match in (
        ({"output": tmp_path / "out.avi"}, "videos are not written as .avi"),
        ({"output": tmp_path / "out"}, "a file without suffix"),
        ({"output": source}, "is the source itself"),
        ({"output": tmp_path / "no" / "out.mp4"}, "there is no folder"),
        ({"side": 4}, "the side is 4 px, expected 16 to 8192"),
        ({"smoothing": 1.5}, "smoothing is 1.5, expected 0 to 1"),
        ({"on_failure": "cry"}, "on_failure is 'cry', expected stop, hold, pass"),
        ({"also": ["above"]}, "also is 'above', expected side-by-side"),
        ({"edit": lambda picture: picture[0]}, "expected uint8 RGB"),
        ({"edit": lambda picture: picture / 2}, "the edit returned float64"),
    ):
        arguments = {"source": source, "output": tmp_path / "out.mp4", "edit": inverted} | changes
        with pytest.raises(InputError, match=match):
            convert(**arguments)
    assert not (tmp_path / "out.mp4").exists()


def test_without_pyav_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=(0, 1001)))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependency, match=r"video needs PyAV.*mien\[video\]"):
        open_video(source)


def test_times_without_a_common_clock_are_refused(tmp_path: Path) -> None:
    film = Film(pts=(0, 999_983), time_base=Fraction(1, 1_999_993), sounds=[Sound(rate=44100)])
    source = make(tmp_path / "in.mov", film)
    with pytest.raises(InputError, match="no common clock that MP4 can state"):
        convert(source, tmp_path / "out.mp4", inverted)


def test_what_the_encoder_refuses_is_said(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Film(pts=(0, 1001)))
    with pytest.raises(RunError, match=r"libx264 refuses 16400 x 2 px.*--side"):
        convert(source, tmp_path / "out.mp4", lambda picture: np.zeros((2, 16400, 3), np.uint8))
    assert not (tmp_path / "out.mp4").exists()


def test_what_cannot_be_joined_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.video import finish

    def refuse(*_: object, **__: object) -> None:
        raise av.error.InvalidDataError(1, "bad packet")

    monkeypatch.setattr(finish, "join", refuse)
    with pytest.raises(RunError, match=r"out.mp4 cannot be joined: bad packet"):
        convert(make(tmp_path / "in.mp4"), tmp_path / "out.mp4", inverted)
    assert [p.name for p in tmp_path.glob("*out*")] == ["out.mp4.parts"]


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        cover = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        film = file.add_stream("libx264", rate=30)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        file.mux(
            cover.encode(av.VideoFrame.from_ndarray(scene(9), "rgb24").reformat(format="yuvj420p"))
        )
        for i in range(4):
            file.mux(film.encode(av.VideoFrame.from_ndarray(scene(i), "rgb24")))
        for stream in (film, cover):
            file.mux(stream.encode())
    made = convert(tmp_path / "song.mp4", tmp_path / "out.mp4", inverted)
    assert made.frames == 4
    assert made.left_out == ("video mjpeg",)


def test_boxes_of_mp4_are_whole(tmp_path: Path) -> None:
    """The XMP lies in a box of its own: a walk over the boxes ends with the file."""
    convert(make(tmp_path / "in.mp4", Film(pts=(0, 1001))), tmp_path / "out.mp4", inverted)
    data, at, kinds = (tmp_path / "out.mp4").read_bytes(), 0, []
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        kinds.append(kind)
        at += size
    assert at == len(data)
    assert kinds[-1] == b"uuid"
