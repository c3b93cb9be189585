"""Runs over many items, in one process and in several: resume, failures, films in pieces."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.scale.plans import OPTIONS, files, pictures
from tests.video.films import Film, Sound, heard, make, times

import mien
from mien.bundles import BUILT_IN, built_in
from mien.cli.main import main
from mien.demo.run import SAMPLES
from mien.errors import (
    ArchMismatch,
    Cancelled,
    CorruptFile,
    DecodeError,
    InputError,
    MissingDependency,
    RunError,
)
from mien.scale import run
from mien.scale.cluster import Actor
from mien.scale.items import items_of
from mien.scale.local import in_processes
from mien.scale.plan import Plan, Result, Task
from mien.scale.run import Progress
from mien.scale.store import Store, address_of
from mien.scale.verbs import VERBS, check_options, verb_of
from mien.scale.worker import Worker
from mien.studio import Studio
from mien.video import convert
from mien.video.convert import SEGMENT
from mien.video.pieces import cut
from mien.video.read import FileSource

pytestmark = pytest.mark.skipif(
    not all((BUILT_IN / name).is_dir() for name in ("demo", "adain", "vaegan")),
    reason="mien's own bundles are not built",
)

ROOT = Path(__file__).parents[2]
FRAMES = 2 * SEGMENT + 7
UNEVEN = tuple(np.cumsum(np.random.default_rng(3).integers(300, 3000, FRAMES)).tolist())
# Groups of 20 frames with frames between that look ahead: pieces begin inside of groups.
FILM = Film(
    pts=UNEVEN,
    sounds=[Sound(blocks=120), Sound(blocks=50, start=4096, language="fra")],
    options={"preset": "veryfast", "crf": "10", "g": "20", "bf": "2"},
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("scale") / "in", 5)


@pytest.fixture(scope="module")
def alone(source: Path) -> Path:
    """What one process makes of the source."""
    output = source.parent / "alone"
    report = run("stylize", source, output, options=OPTIONS, workers=1, local=True)
    assert (report.done, report.kept, report.failed) == (5, 0, ())
    return output


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("films") / "film.mp4", FILM)


def test_every_item_becomes_what_the_studio_makes_of_it(source: Path, alone: Path) -> None:
    assert len(files(alone / "objects")) == 5
    with Studio(backend="ort", threads=1) as studio:
        for path in source.rglob("*.png"):
            name = path.relative_to(source)
            expected = studio.stylize(path, OPTIONS["style"], match_colour=0.5)  # type: ignore[arg-type]
            np.testing.assert_array_equal(mien.decode.load(alone / "results" / name), expected)
    index = [json.loads(line) for line in (alone / "index.jsonl").read_text().splitlines()]
    assert [row["name"] for row in index] == ["00", "02", "03", "04", "more/01"]
    assert all((alone / row["file"]).is_file() for row in index)


def test_a_second_run_does_only_what_is_missing(source: Path, alone: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(alone, output)
    next((output / "objects").rglob("*.png")).unlink()
    again = run("stylize", source, output, options=OPTIONS, workers=1, local=True)
    assert (again.done, again.kept) == (1, 4)
    assert len(again.latencies) == 1
    assert files(output / "objects") == files(alone / "objects")
    other = run(
        "stylize", source, output, options={**OPTIONS, "strength": 0.5}, workers=1, local=True
    )
    assert (other.done, other.kept) == (5, 0)  # another setting is another result


def test_two_items_of_the_same_bytes_are_drawn_once(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 2)
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    report = run("stylize", folder, tmp_path / "out", options=OPTIONS, workers=1, local=True)
    assert (report.done, report.kept) == (2, 1)
    assert len(files(tmp_path / "out" / "objects")) == 2
    assert len(files(tmp_path / "out" / "results")) == 3


def test_failed_items_are_listed_and_the_others_go_on(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 3)
    (folder / "02.jpg").write_bytes(b"no picture")
    output = tmp_path / "out"
    report = run("stylize", folder, output, options=OPTIONS, workers=1, local=True)
    assert (report.done, report.items) == (3, 4)
    assert [(failed.name, failed.error) for failed in report.failed] == [
        ("02.jpg", "UnsupportedFormat")
    ]
    record = json.loads((output / "report.json").read_text())
    assert record["failed"][0]["name"] == "02.jpg"
    assert record["latency_ms"]["p50"] <= record["latency_ms"]["p99"] <= record["latency_ms"]["max"]
    assert "02.jpg" in report.table()
    assert sorted(files(output / "results")) == ["00.png", "02.png.png", "more/01.png"]


def test_a_network_that_does_not_open_ends_the_run(source: Path, tmp_path: Path) -> None:
    with pytest.raises(mien.errors.BackendUnavailable, match="ort-cuda"):
        run(
            "stylize", source, tmp_path / "out", options=OPTIONS, workers=1, local=True,
            backend="ort-cuda",
        )  # fmt: skip


def test_a_manifest_gives_each_item_its_own_arguments(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3)
    (tmp_path / "rows.csv").write_text(
        "name,content,style,strength\nfirst,in/00.png,mosaic,0.5\nsecond,in/02.png,in/00.png,\n"
    )
    rows = [
        {"name": "first", "content": "in/00.png", "style": "mosaic", "strength": 0.5},
        {"name": "second", "content": "in/02.png", "style": ["in/00.png"]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for manifest in ("rows.csv", "rows.jsonl"):
        output = tmp_path / f"out-{manifest}"
        report = run("stylize", tmp_path / manifest, output, workers=1, local=True)
        assert report.done == 2, report.failed
    with Studio(backend="ort", threads=1) as studio:
        one = studio.stylize(tmp_path / "in/00.png", "mosaic", strength=0.5)
        two = studio.stylize(tmp_path / "in/02.png", tmp_path / "in/00.png")
    for manifest in ("rows.csv", "rows.jsonl"):
        results = tmp_path / f"out-{manifest}" / "results"
        np.testing.assert_array_equal(mien.decode.load(results / "first.png"), one)
        np.testing.assert_array_equal(mien.decode.load(results / "second.png"), two)


def test_codes_become_pictures_and_pictures_codes(tmp_path: Path) -> None:
    with Studio("demo", backend="ort", threads=1) as studio:
        (tmp_path / "codes").mkdir()
        for seed in (1, 2):
            np.save(tmp_path / "codes" / f"{seed}.npy", studio.sample(seed))
        drawn = run("render", tmp_path / "codes", tmp_path / "drawn", workers=1, local=True)
        found = run(
            "invert", tmp_path / "drawn/results", tmp_path / "found", aligned=True, workers=1,
            local=True,
        )  # fmt: skip
        merged = run(
            "merge", tmp_path / "drawn/results", tmp_path / "merged", aligned=True, workers=1,
            local=True, options={"pattern": str(tmp_path / "drawn/results/1.png")},
            suffix=".webp",
        )  # fmt: skip
        assert (drawn.done, found.done, merged.done) == (2, 2, 2)
        face = studio.render(studio.sample(2))
        np.testing.assert_array_equal(
            np.load(tmp_path / "found/results/2.npy"), studio.invert(face)
        )
        assert (tmp_path / "merged/results/2.webp").is_file()


def test_faces_are_cut_out_of_photographs(tmp_path: Path) -> None:
    if not {"faces", "lookalike", "embedder"} <= set(built_in()) or not list(SAMPLES.glob("*.jpg")):
        pytest.skip("mien's own detector or portraits are not there")
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in SAMPLES.glob("*.jpg"):
        shutil.copy(path, photos)
    (photos / "wall.png").write_bytes(
        next((pictures(tmp_path / "x", 1)).glob("*.png")).read_bytes()
    )
    cut_out = run("align", photos, tmp_path / "cut", workers=1, local=True)
    alike = run(
        "lookalikes", photos / "ada.jpg", tmp_path / "alike", workers=1, local=True,
        options={"n": 2, "seed": 3},
    )  # fmt: skip
    assert (cut_out.done, [failed.error for failed in cut_out.failed]) == (2, ["NoFace"])
    with Studio(backend="ort", threads=1) as studio:
        face = studio.align(photos / "ada.jpg")
        np.testing.assert_array_equal(
            mien.decode.load(tmp_path / "cut/results/ada.png"), face.image
        )
        face = studio.align(photos / "ada.jpg", size=studio.face_size("lookalike"))
        np.testing.assert_array_equal(
            mien.decode.load(tmp_path / "alike/results/ada.png"),
            studio.lookalikes(face, 2, seed=3).sheet(),
        )
    assert alike.done == 1


def test_frames_that_cannot_be_edited_are_counted(tmp_path: Path) -> None:
    """No frame has a face: with the rule `pass` they are as they were, and the report says so."""
    if "faces" not in built_in():
        pytest.skip("mien's own detector is not there")
    short = make(tmp_path / "short.mp4", Film(pts=range(0, 5005, 1001), size=(96, 64)))
    how = {"options": {"expression": "happy"}, "workers": 1, "local": True}
    stopped = run("express", short, tmp_path / "stop", **how)  # type: ignore[arg-type]
    assert [failed.error for failed in stopped.failed] == ["NoFace"]
    assert stopped.done == 0
    passed = run("express", short, tmp_path / "pass", on_failure="pass", **how)  # type: ignore[arg-type]
    assert (passed.done, passed.frames, passed.passed) == (1, 5, 5)
    assert "not edited" in passed.table()


def test_a_stopped_run_goes_on_from_there(source: Path, alone: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def after_two(done: Progress) -> None:
        if done.done == 2:
            stop.set()

    with pytest.raises(Cancelled, match="stopped after 2 of 5"):
        run(
            "stylize", source, tmp_path / "out", options=OPTIONS, workers=1, local=True,
            callback=after_two, stop=stop,
        )  # fmt: skip
    assert len(files(tmp_path / "out" / "objects")) == 2
    assert json.loads((tmp_path / "out" / "report.json").read_text())["done"] == 2
    report = run("stylize", source, tmp_path / "out", options=OPTIONS, workers=1, local=True)
    assert (report.done, report.kept) == (3, 2)
    assert files(tmp_path / "out" / "objects") == files(alone / "objects")


def test_a_film_in_pieces_is_that_of_an_unbroken_run_to_the_bit(film: Path, tmp_path: Path) -> None:
    pieces = cut(film, SEGMENT)
    assert [piece.first for piece in pieces] == [0, SEGMENT, 2 * SEGMENT]
    assert all(piece.key < piece.times[0] for piece in pieces[1:])  # inside of a group
    output = tmp_path / "out"
    report = run(
        "stylize", film.parent, output, options=OPTIONS, workers=1, local=True, piece=SEGMENT
    )
    assert (report.done, report.frames) == (1, FRAMES)
    with Studio(backend="ort", threads=1) as studio:
        convert(film, tmp_path / "whole.mp4", studio.style_edit(**OPTIONS))  # type: ignore[arg-type]
    joined = output / "results" / "film.mp4"
    assert joined.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert times(joined) == times(film)
    assert heard(joined) == heard(film)
    assert not list((output / "parts").iterdir())
    again = run(
        "stylize", film.parent, output, options=OPTIONS, workers=1, local=True, piece=SEGMENT
    )
    assert (again.done, again.kept, again.frames) == (0, 1, 0)


def test_films_of_a_manifest_have_settings_of_their_own_and_equal_ones_are_drawn_once(
    tmp_path: Path,
) -> None:
    short = make(tmp_path / "short.mp4", Film(pts=range(0, 6006, 1001)))
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    rows = [("one", "short", 1), ("same", "short", 1), ("other", "short", 0.2), ("bad", "bad", 1)]
    (tmp_path / "films.csv").write_text(
        "name,content,style,strength\n" + "".join(f"{n},{f}.mp4,mosaic,{s}\n" for n, f, s in rows)
    )
    output = tmp_path / "out"
    report = run("stylize", tmp_path / "films.csv", output, workers=1, local=True)
    assert (report.done, report.kept, report.frames) == (2, 1, 12)
    assert [failed.name for failed in report.failed] == ["bad"]
    with Studio(backend="ort", threads=1) as studio:
        for name, strength in (("one", 1.0), ("same", 1.0), ("other", 0.2)):
            edit = studio.style_edit("mosaic", strength=strength)
            convert(short, tmp_path / "whole.mp4", edit)
            made = (output / "results" / f"{name}.mp4").read_bytes()
            assert made == (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "films.csv").write_text("content,masks\nshort.mp4,1\n")
    with pytest.raises(InputError, match="stylize of films has no option 'masks'"):
        run("stylize", tmp_path / "films.csv", output, workers=1, local=True)


def test_equal_films_that_fail_are_all_listed(tmp_path: Path) -> None:
    if "faces" not in built_in():
        pytest.skip("mien's own detector is not there")
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        make(tmp_path / "in" / f"{name}.mp4", Film(pts=range(0, 3003, 1001), size=(96, 64)))
    report = run(
        "express", tmp_path / "in", tmp_path / "out", options={"expression": "happy"}, workers=1,
        local=True,
    )  # fmt: skip
    assert [(failed.name, failed.error) for failed in report.failed] == [
        ("a", "NoFace"), ("b", "NoFace"),
    ]  # fmt: skip


def test_a_film_that_was_broken_off_draws_only_the_segments_that_are_missing(
    film: Path, tmp_path: Path
) -> None:
    stop = threading.Event()

    def after_the_first_piece(done: Progress) -> None:
        if done.done == 2:  # the survey, and a piece
            stop.set()

    with pytest.raises(Cancelled):
        run(
            "stylize", film, tmp_path / "out", options=OPTIONS, workers=1, local=True,
            piece=SEGMENT, callback=after_the_first_piece, stop=stop,
        )  # fmt: skip
    assert len(list((tmp_path / "out" / "parts").rglob("*.json"))) == 1
    report = run(
        "stylize", film, tmp_path / "out", options=OPTIONS, workers=1, local=True, piece=SEGMENT
    )
    assert (report.done, report.frames) == (1, FRAMES - SEGMENT)


def test_a_film_that_is_not_what_its_index_says_fails_with_a_way_out(
    film: Path, tmp_path: Path
) -> None:
    found = FileSource(film, None)
    piece = cut(film, SEGMENT)[1]
    wrong = (piece.times[0], piece.times[1] + 1)
    with pytest.raises(DecodeError, match=r"frame 49 is not where .* mien video"):
        list(found.stretch(piece.key, piece.first, wrong))
    (tmp_path / "short").mkdir()
    short = tmp_path / "short" / "short.mp4"
    short.write_bytes(b"no film")
    report = run("stylize", short.parent, tmp_path / "out", options=OPTIONS, workers=1, local=True)
    assert [(f.name, f.error) for f in report.failed] == [("short", "DecodeError")]


def test_a_gif_is_drawn_as_a_whole(tmp_path: Path) -> None:
    with Studio("demo", backend="ort", threads=1) as studio:
        (tmp_path / "in").mkdir()
        studio.animate(studio.sample(7), "happy", [0, 0.5, 1]).save(tmp_path / "in/smile.gif")
        report = run(
            "stylize", tmp_path / "in", tmp_path / "out", options=OPTIONS, workers=1, local=True,
            film_suffix=".gif",
        )  # fmt: skip
        assert (report.done, report.frames) == (1, 3), report.failed
        convert(tmp_path / "in/smile.gif", tmp_path / "whole.gif", studio.style_edit(**OPTIONS))  # type: ignore[arg-type]
    made = tmp_path / "out" / "results" / "smile.gif"
    assert made.read_bytes() == (tmp_path / "whole.gif").read_bytes()


def test_wrong_arguments_are_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    def attempt(verb: str = "stylize", where: Path = source, **arguments: object) -> None:
        arguments = {"options": OPTIONS} | arguments
        run(verb, where, tmp_path / "out", local=True, **arguments)  # type: ignore[arg-type]

    with pytest.raises(InputError, match="no verb 'paint'"):
        attempt("paint")
    with pytest.raises(InputError, match="has no option 'stlye'"):
        attempt(options={"stlye": "mosaic"})
    with pytest.raises(InputError, match="has no option 'callback'"):
        attempt("project", options={"callback": 1})
    with pytest.raises(InputError, match="stylize of many items needs style") as refused:
        attempt(options={})
    assert "--set style=" in (refused.value.hint or "")
    with pytest.raises(InputError, match="swap of many items needs identity"):
        attempt("swap", options={})
    with pytest.raises(InputError, match="there is no file"):
        attempt(options={"style": "nowhere.jpg"})
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        attempt(where=tmp_path / "nowhere")
    with pytest.raises(InputError, match="0 workers"):
        attempt(workers=0)
    with pytest.raises(InputError, match="on_failure is 'hold'"):
        attempt(on_failure="hold")
    with pytest.raises(InputError, match="a piece of 0 frames"):
        attempt(piece=0)
    with pytest.raises(InputError, match=r"not written as \.bmp"):
        attempt(suffix=".bmp")
    with pytest.raises(InputError, match=r"not written as \.avi"):
        attempt(film_suffix=".avi")
    with pytest.raises(ArchMismatch, match=r"of family vaegan, and stylize needs one of .* adain"):
        attempt(bundles=["vaegan"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has nothing to do"):
        attempt(where=tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run("stylize", source, tmp_path / "file" / "out", options=OPTIONS, local=True)
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "rows.csv"
    for text, error, said in (
        ("content,style\na.png\n", CorruptFile, "row 1 has other columns"),
        ("picture\na.png\n", InputError, "row 1 of the manifest has no content"),
        ("name,content\n../up,a.png\n", InputError, "is called '../up'"),
        ("name,content\na,a.png\na,b.png\n", InputError, "two items are called 'a'"),
    ):
        manifest.write_text(text)
        with pytest.raises(error, match=said):
            items_of(VERBS["stylize"], manifest)
    lines = tmp_path / "rows.jsonl"
    lines.write_text("{not json}\n")
    with pytest.raises(CorruptFile, match="no manifest that can be read"):
        items_of(VERBS["stylize"], lines)


def test_one_run_at_a_time_works_on_a_folder(source: Path, alone: Path) -> None:
    from filelock import FileLock

    with FileLock(alone / ".lock"), pytest.raises(InputError, match="another run works on"):
        run("stylize", source, alone, options=OPTIONS, workers=1, local=True)


def test_addresses_are_those_of_what_a_result_is_made_of(tmp_path: Path) -> None:
    assert address_of({"a": 1, "b": [2]}) == address_of({"b": [2], "a": 1})
    assert address_of({"a": 1}) != address_of({"a": 2})
    store = Store(tmp_path)
    with pytest.raises(OSError, match="no space"):
        store.put("ab", ".png", lambda path: (path.write_bytes(b"half"), _full())[0])
    assert not store.place("ab", ".png").exists()
    assert files(tmp_path) == {}
    store.put("ab", ".png", lambda path: path.write_bytes(b"whole"))
    assert store.place("ab", ".png").read_bytes() == b"whole"


def _full() -> None:
    raise OSError("no space")


def test_the_command_names_every_verb() -> None:
    from mien.cli.scale import command

    said = " ".join((command.__doc__ or "").split())
    assert f"Verbs: {', '.join(sorted(VERBS))}; of films: " in said
    films = [name for name, verb in sorted(VERBS.items()) if verb.film is not None]
    assert f"of films: {', '.join(films)}." in said


def test_every_verb_has_the_arguments_that_it_names() -> None:
    for name, verb in VERBS.items():
        check_options(name, verb.kinds)
        assert verb_of(name).item in verb.kinds
        assert verb.film is None or hasattr(Studio, verb.of_film)


class GaveUp(Exception):
    """What Ray raises, by its own name."""


def fake_ray(*, there: bool = True, whole: bool = True) -> types.SimpleNamespace:
    """As much of Ray as a run asks for: one actor, in this process."""
    calls: list[str] = []

    def init(**options: object) -> None:
        calls.append(f"init {options.get('object_store_memory')}")
        if not there:
            raise ConnectionError("no cluster answers")

    def from_items(rows: list[dict[str, bytes]], override_num_blocks: int) -> object:
        def map_batches(actor: type, fn_constructor_args: tuple[Plan], **_: object) -> object:
            def iter_rows() -> Iterator[dict[str, bytes]]:
                work = actor(*fn_constructor_args)
                for row in rows:
                    yield {"result": work({"task": [row["task"]]})["result"][0]}
                if not whole:
                    raise GaveUp("The actor died\nbecause of its node")

            return types.SimpleNamespace(iter_rows=iter_rows)

        assert 1 <= override_num_blocks <= len(rows)
        return types.SimpleNamespace(map_batches=map_batches)

    context = types.SimpleNamespace(enable_progress_bars=True)
    data = types.ModuleType("ray.data")
    data.__dict__.update(
        DataContext=types.SimpleNamespace(get_current=lambda: context), from_items=from_items,
        ActorPoolStrategy=lambda size: size,
    )  # fmt: skip
    ray = types.ModuleType("ray")
    ray.__dict__.update(
        data=data, init=init, is_initialized=lambda: False, calls=calls,
        shutdown=lambda: calls.append("shutdown"),
        exceptions=types.SimpleNamespace(RayError=GaveUp),
    )  # fmt: skip
    return types.SimpleNamespace(ray=ray, data=data, calls=calls)


def take_for_ray(monkeypatch: pytest.MonkeyPatch, fake: types.SimpleNamespace) -> None:
    monkeypatch.setitem(sys.modules, "ray", fake.ray)
    monkeypatch.setitem(sys.modules, "ray.data", fake.data)


def test_a_ray_is_started_small_and_ended(
    source: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_ray()
    take_for_ray(monkeypatch, fake)
    report = run("stylize", source, tmp_path / "out", options=OPTIONS)
    assert (report.executor, report.done) == ("ray", 5)
    assert files(tmp_path / "out" / "objects") == files(alone / "objects")
    assert fake.calls == [f"init {200 << 20}", "shutdown"]


class Died(BaseException):
    """The end of an actor, in this process."""


def test_a_task_that_kills_actor_after_actor_is_given_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(worker: Worker, task: Task) -> Result:
        raise Died

    plan = Plan("stylize", OPTIONS, str(tmp_path), ".png")
    task = Task("draw", items_of(VERBS["stylize"], source)[0])
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "__call__", dies)
        for _ in range(3):
            with pytest.raises(Died):
                Actor(plan)({"task": [pickle.dumps(task)]})
        (told,) = Actor(plan)({"task": [pickle.dumps(task)]})["result"]
    assert pickle.loads(told).error == "WorkerDied"
    assert "killed 3 times" in pickle.loads(told).message
    (told,) = Actor(plan)({"task": [pickle.dumps(task)]})["result"]  # a try of another run
    assert pickle.loads(told).status == "done"
    assert not any((tmp_path / "making" / "tries").iterdir())


def test_a_ray_that_is_not_there_or_gives_up_is_an_error_of_ours(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_for_ray(monkeypatch, fake_ray(there=False))
    with pytest.raises(RunError, match="no Ray at head:6379: no cluster answers"):
        run("stylize", source, tmp_path / "out", options=OPTIONS, address="head:6379")
    fake = fake_ray(whole=False)
    take_for_ray(monkeypatch, fake)
    with pytest.raises(RunError, match=r"Ray gave up: because of its node\. What is done is kept"):
        run("stylize", source, tmp_path / "out", options=OPTIONS)
    assert fake.calls[-1] == "shutdown"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["done"] == 5


def test_without_ray_the_error_says_what_to_type(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mien\[scale\]'.*--local"):
        run("stylize", source, tmp_path / "out", options=OPTIONS)


def test_the_command_line_runs_a_verb_over_a_folder(
    source: Path, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["scale", "stylize", "--in", str(source), "--out", str(tmp_path / "out"), "--local"]
    options = ["--workers", "1", "--set", "style=mosaic", "--set", "match_colour=0.5"]
    assert main([*given, *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 5
    assert files(tmp_path / "out" / "objects") == files(alone / "objects")
    assert main([*given, "--set", "style"]) == 1
    assert "is no option" in capsys.readouterr().err
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert main(["scale", "stylize", "--in", str(broken), *given[4:], *options]) == 1
    assert "failed: broken" in capsys.readouterr().out


@pytest.mark.slow
def test_several_processes_make_what_one_makes(source: Path, alone: Path, tmp_path: Path) -> None:
    report = run("stylize", source, tmp_path / "out", options=OPTIONS, workers=2, local=True)
    assert report.done == 5
    assert files(tmp_path / "out" / "objects") == files(alone / "objects")
    assert files(tmp_path / "out" / "results") == files(alone / "results")


class Fatal(Worker):
    """A worker that dies of one of its tasks, as of too little memory."""

    def __call__(self, task: Task) -> Result:
        if task.item.name == "02":
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(task, "done", "me")


@pytest.mark.slow
def test_a_task_that_kills_its_process_is_failed_and_the_others_are_done(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.scale.local._begin", begin_fatal)
    plan = Plan("stylize", OPTIONS, str(tmp_path), ".png")
    tasks = [Task("draw", item) for item in items_of(VERBS["stylize"], source)]
    results = list(in_processes(plan, tasks, 2))
    status = {result.task.item.name: result.status for result in results}
    assert status == {"00": "done", "02": "failed", "03": "done", "04": "done", "more/01": "done"}
    assert len(results) == 5
    assert next(r for r in results if r.status == "failed").error == "WorkerDied"


def begin_fatal(plan: Plan) -> None:
    import mien.scale.local

    mien.scale.local._worker = Fatal(plan)
