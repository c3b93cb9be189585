"""What is written is whole or not there, and the error names what stood in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.animation import Animation
from mien.edits.latents import save_code
from mien.edits.loop import RunState
from mien.edits.tensor_files import save_tensors
from mien.errors import InputError
from mien.faces.landmarks import write_json
from mien.images import save
from mien.whole_files import replacing, write_whole


@pytest.mark.parametrize("content", ["caf\u00e9\n", b"\x00\xff", ""])
def test_what_is_written_is_there_and_nothing_else(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    assert write_whole(path, content) == path
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_what_stood_there_stays_where_the_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


PICTURE = np.zeros((3, 5, 3), np.uint8)
WRITERS: list[tuple[str, Callable[[Path], object]]] = [
    ("a.txt", lambda path: write_whole(path, "text")),
    ("a.safetensors", lambda path: save_tensors(path, {"x": np.ones(3)}, "record", {})),
    ("a.json", lambda path: write_json({}, path)),
    ("a.npy", lambda path: save_code(np.ones((2, 3), np.float32), path)),
    ("a.npz", lambda path: RunState({}, {}, {}, []).save(path)),
    ("a.png", lambda path: save(PICTURE, path)),
    ("a.gif", lambda path: Animation(PICTURE[None], 10.0, ()).save(path)),
]


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
@pytest.mark.parametrize("parent", ["file", "missing"])
def test_where_the_folder_is_none_an_input_error_names_the_file(
    tmp_path: Path, name: str, write: Callable[[Path], object], parent: str
) -> None:
    (tmp_path / "file").write_text("no file can be made below a file")
    with pytest.raises(InputError, match=rf"{name} cannot be written: (Not a|No such)"):
        write(tmp_path / parent / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
