"""Bundles on the disk: the same bytes again, nothing of a broken export, and honest figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien_engines import Bundle
from mien_engines.errors import InputError, MienError
from mien_engines.spec import Source
from mien_export.graph import EXACT, Graph, floats
from mien_export.to_bundle import write_bundle

SOURCE = Source(file="none.pt", format="none", sha256="0" * 64, licence="none")


class Perceptron(nn.Module):
    """y = tanh(x W) V, and its mean square."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Parameter(torch.randn(5, 64))
        self.second = nn.Parameter(torch.randn(64, 7))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.tanh(x @ self.first) @ self.second
        return y, y.square().mean(1)


def perceptron(seed: int = 0) -> Graph:
    return Graph(
        "perceptron",
        Perceptron(seed),
        [torch.randn(2, 5)],
        [floats("x", ("N", 5), "anything")],
        [floats("y", ("N", 7), "of it"), floats("square", ("N",), "mean of y y")],
        EXACT,
        samples={"x": torch.linspace(-1, 1, 5)[None]},
    )


def write(folder: Path, graph: Graph | None = None, **options: bool) -> None:
    write_bundle(
        folder,
        [graph or perceptron()],
        name="p",
        family="generic",
        source=SOURCE,
        properties={},
        constants={},
        **options,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_exporting_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", half=False)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    write(tmp_path / "one", overwrite=True)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_a_folder_is_replaced_only_when_that_is_wanted(tmp_path: Path) -> None:
    write(tmp_path / "b")
    before = content(tmp_path / "b")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "b", perceptron(1))
    assert content(tmp_path / "b") == before
    write(tmp_path / "b", perceptron(1), overwrite=True)
    assert content(tmp_path / "b") != before


@pytest.mark.parametrize("stage", ["perceptron", "writing", "measuring"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_export_leaves_the_old_bundle_or_none(
    tmp_path: Path, stage: str, error: type[BaseException]
) -> None:
    write(tmp_path / "old")
    before = content(tmp_path / "old")

    def break_off(what: str, done: int, total: int) -> None:
        if what == stage:
            raise error

    for name in ("new", "old"):
        with pytest.raises(error):
            write_bundle(
                tmp_path / name,
                [perceptron(1)],
                name="p",
                family="generic",
                source=SOURCE,
                properties={},
                constants={},
                overwrite=True,
                progress=break_off,
            )
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert content(tmp_path / "old") == before


KILLED = """
    import sys
    from pathlib import Path
    from tests.export.test_to_bundle import perceptron, write
    print("ready", flush=True)
    write(Path(sys.argv[1]), perceptron(1))
"""


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_that_opens(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    paths = [str(root), *(str(root / p) for p in ("sdk", "engines", "export"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    folder = tmp_path / "bundle"
    for wait in (0.0, 0.3, 0.8, 1.5):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if folder.exists():  # it was faster than the signal, and must be whole then
            Bundle.open(folder)
        else:
            with pytest.raises(MienError):
                Bundle.open(folder)
    write(folder, perceptron(1), overwrite=True)
    Bundle.open(folder)


def test_the_manifest_says_how_far_a_graph_is_from_its_network(tmp_path: Path) -> None:
    write(tmp_path / "exact")
    write(tmp_path / "rounded", half=True)
    exact, rounded = (
        Bundle.open(tmp_path / name).spec.graphs["perceptron"].errors
        for name in ("exact", "rounded")
    )
    assert set(exact) == {"y", "square"}
    assert max(exact.values()) < 1e-6
    graph = perceptron()
    assert isinstance(graph.module, Perceptron)
    x = graph.samples["x"].double().numpy()
    weights = [p.detach().half().double().numpy() for p in graph.module.parameters()]
    narrow = np.tanh(x @ weights[0]) @ weights[1]
    with torch.no_grad():
        wide = graph.module(graph.samples["x"])[0].double().numpy()
    # Half precision is the only error: weights below are rounded the same way.
    expected = np.abs(narrow - wide).max() / np.ptp(wide)
    assert rounded["y"] == pytest.approx(expected, rel=0.05)
