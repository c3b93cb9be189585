"""Style tables: each cell is the mix of its row with its column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien import mix, move, provenance
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.draw import BATCH, draw
from mien.edits.latents import save_code
from mien.edits.table import table_codes
from mien.errors import InputError
from mien.images import load
from mien.studio import Studio

pytestmark = pytest.mark.skipif(
    not (BUILT_IN / "demo").exists(), reason="the demo bundle is not built"
)
SIDE, GAP = 128, 5


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort") as opened:
        yield opened


def test_every_cell_is_the_mix_of_its_row_and_column(studio: Studio) -> None:
    rows, columns = [studio.sample(s) for s in (1, 2)], [studio.sample(s) for s in (3, 4, 5)]
    sheet = studio.style_table(rows, columns, layers="8-16px", psi=0.25).array.astype(int)
    assert sheet.shape == (3 * SIDE + GAP, 4 * SIDE + GAP, 3)

    def cell(i: int, j: int) -> np.ndarray:
        """Row and column from 0, sources included."""
        y, x = (n * SIDE + (GAP if n else 0) for n in (i, j))
        return sheet[y : y + SIDE, x : x + SIDE]

    for i, row in enumerate(rows):
        assert np.abs(cell(i + 1, 0) - studio.render(row).array).max() <= 1
        for j, column in enumerate(columns):
            wanted = studio.mix(row, column, layers="1-4", psi=0.25).array
            assert np.abs(cell(i + 1, j + 1) - wanted).max() <= 1
    for j, column in enumerate(columns):
        assert np.abs(cell(0, j + 1) - studio.render(column).array).max() <= 1
    assert len(np.unique(cell(0, 0))) == 1


def test_the_codes_of_a_table_are_mixes(rng: np.random.Generator) -> None:
    contents, styles = rng.standard_normal((2, 3, 7, 4)).astype(np.float32)
    psi = rng.uniform(0, 1, 7)
    found = table_codes(list(contents), list(styles[:2]), layers="2-4", psi=psi)
    assert found.shape == (3, 2, 7, 4)
    for i in range(3):
        for j in range(2):
            expected = mix(contents[i], styles[j], layers="2-4", psi=psi)
            np.testing.assert_array_equal(found[i, j], expected)


def test_many_codes_are_drawn_as_one(studio: Studio) -> None:
    codes = np.stack([studio.sample(seed) for seed in range(BATCH + 3)])
    found = draw(studio.engine, codes)
    for seed in (0, BATCH - 1, BATCH, BATCH + 2):
        wanted = studio.render(codes[seed]).array
        assert np.abs(found[seed].astype(int) - wanted).max() <= 1


def test_an_empty_edge_is_refused(studio: Studio) -> None:
    with pytest.raises(InputError, match="0 rows and 1 columns"):
        studio.style_table([], [studio.sample(1)])
    with pytest.raises(InputError, match="this generator's have"):
        studio.style_table([np.zeros((18, 512))], [studio.sample(1)])


def test_the_command_line_draws_a_table(studio: Studio, tmp_path: Path) -> None:
    code, output = save_code(studio.sample(1), tmp_path / "a.npy"), tmp_path / "table.png"
    arguments = ["--rows", str(code), "--rows", "4", "--columns", "7", "--layers", "64px+"]
    assert main(["table", *arguments, "-o", str(output), "--psi", ",".join(["0.5"] * 12)]) == 0
    codes = [studio.sample(s) for s in (1, 4, 7)]
    wanted = studio.style_table(codes[:2], codes[2:], layers="64px+", psi=0.5)
    np.testing.assert_allclose(load(output).astype(int), wanted.array, atol=1)
    said = provenance.read(output)
    assert said is not None
    assert said.sources == tuple(map(provenance.digest, codes))


def test_the_command_line_moves_a_code(studio: Studio, tmp_path: Path) -> None:
    code = save_code(studio.sample(1), tmp_path / "a.npy")
    direction = np.random.default_rng(0).standard_normal(studio.w_dim).astype(np.float32)
    np.save(tmp_path / "d.npy", direction)
    arguments = [str(code), str(tmp_path / "d.npy"), "--strength", "-2", "--layers", "4-8px"]
    output, kept = tmp_path / "moved.png", tmp_path / "moved.npy"
    assert main(["move", *arguments, "-o", str(output), "--code", str(kept)]) == 0
    expected = move(studio.sample(1), direction, -2, layers=(0, 1, 2))
    np.testing.assert_array_equal(np.load(kept), expected)
    np.testing.assert_array_equal(load(output), studio.render(expected).array)
    said = provenance.read(output)
    assert said is not None
    assert said.edits == ("move -2",)
