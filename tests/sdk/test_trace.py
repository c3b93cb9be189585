"""Films of a search."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import provenance
from mien.edits.trace import LARGEST, LAST_MS, Trace
from mien.errors import InputError, MissingDependency


def pictures(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Flat colours, which no format blurs much."""
    colours = rng.integers(0, 256, (count, 1, 1, 3), np.uint8)
    return np.broadcast_to(colours, (count, side, side, 3)).copy()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize(("count", "side"), [(1, 16), (3, 10)])
def test_each_frame_shows_the_targets_beside_what_is_found(
    rng: np.random.Generator, tmp_path: Path, suffix: str, count: int, side: int
) -> None:
    targets = pictures(rng, count, side)
    frames = [pictures(rng, count, side) for _ in range(4)]
    film = Trace(tmp_path / f"film{suffix}", targets)
    for frame in frames:
        film.add(frame)
    assert film.write() == tmp_path / f"film{suffix}"
    assert [p.name for p in tmp_path.iterdir()] == [f"film{suffix}"]
    with Image.open(tmp_path / f"film{suffix}") as opened:
        assert (opened.size, opened.n_frames) == ((2 * side, count * side), 4)
        for i, frame in enumerate(frames):
            opened.seek(i)
            shown = np.asarray(opened.convert("RGB")).astype(int)
            for k in range(count):
                rows = shown[k * side : (k + 1) * side]
                assert np.abs(rows[:, :side] - targets[k]).mean() < 8
                assert np.abs(rows[:, side:] - frame[k]).mean() < 8
        assert opened.info["duration"] == LAST_MS


def test_large_pictures_are_scaled_down(rng: np.random.Generator, tmp_path: Path) -> None:
    film = Trace(tmp_path / "film.gif", pictures(rng, 1, 1024))
    film.add(pictures(rng, 1, 1024))
    film.write()
    with Image.open(tmp_path / "film.gif") as opened:
        assert opened.size == (2 * LARGEST, LARGEST)


def test_a_film_says_that_it_is_synthetic(rng: np.random.Generator, tmp_path: Path) -> None:
    for suffix in (".gif", ".webp"):
        film = Trace(tmp_path / f"film{suffix}", pictures(rng, 1, 8))
        film.add(pictures(rng, 1, 8))
        film.add(pictures(rng, 1, 8))
        said = provenance.read(film.write())
        assert said is not None
        assert said.digital_source_type.endswith("/compositeWithTrainedAlgorithmicMedia")
        assert said.edits == ("project",)


def test_an_mp4_is_written_where_pyav_is_installed(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    targets, found = pictures(rng, 1, 64), pictures(rng, 1, 64)
    film = Trace(tmp_path / "film.mp4", targets)
    film.add(found)
    film.add(found)
    with av.open(str(film.write())) as opened:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in opened.decode(video=0)]
        assert "compositeWithTrainedAlgorithmicMedia" in opened.metadata["comment"]
    assert len(shown) == 1 + LAST_MS // 100
    assert np.abs(shown[-1][:, :60] - targets[0, 0, 0]).mean() < 12
    assert np.abs(shown[-1][:, 68:] - found[0, 0, 0]).mean() < 12


def test_what_cannot_be_written_is_refused_before_the_search(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = pictures(rng, 1, 8)
    with pytest.raises(InputError, match=r"film.avi: a trace is not written as .avi"):
        Trace(tmp_path / "film.avi", targets)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match=r"a trace as \.mp4 needs PyAV"):
        Trace(tmp_path / "film.mp4", targets)
    film = Trace(tmp_path / "nowhere" / "film.gif", targets)
    film.add(targets)
    with pytest.raises(InputError, match="cannot be written"):
        film.write()
