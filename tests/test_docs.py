"""What the documentation says works: examples run, links lead somewhere, verbs exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from mien import errors
from mien.bundles import BUILT_IN, built_in
from mien.cli.main import PLUGIN_HELP, VERBS
from mien.demo.run import SAMPLES
from mien.edits.gatys_settings import GATYS_PRESETS, GatysSettings
from mien.edits.presets import FAITHFUL, FAST, NVLABS
from mien.edits.settings import ProjectionSettings

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROJECTING = (
    "03_project_and_mix",
    "04_resume",
    "05_batch",
    "08_express",
    "09_presets",
    "10_swap",
    "14_gatys",
)
# Families that examples need and that mien may come without; tests/export runs these examples too,
# with bundles of random networks.
NEEDING = {"11_merge": "vaegan", "12_translate": "starganv2", "13_lookalikes": "lookalike"}
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")]
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?mien (\S+)", re.MULTILINE)


RUNS = [
    pytest.param(path, marks=[pytest.mark.slow] if path.stem in PROJECTING else [])
    for path in EXAMPLES
]


@pytest.mark.parametrize("example", RUNS, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs_and_writes_what_it_says(example: Path, tmp_path: Path) -> None:
    if not ((BUILT_IN / "demo") / "bundle.json").is_file():
        pytest.skip("the demo bundle is not built: python export/zoo/ship.py")
    if NEEDING.get(example.stem, "demo") not in built_in():
        pytest.skip(f"mien comes without a bundle of family {NEEDING[example.stem]}")
    if "portraits" in example.read_text() and not list(SAMPLES.glob("*.jpg")):
        pytest.skip("the sample portraits are not there")
    folders = [str(ROOT / name) for name in ("sdk", "engines", "export")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(folders),
        "MIEN_CACHE_DIR": str(tmp_path / "cache"),
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert list(work.iterdir()), "it wrote nothing"
    if example.stem == "04_resume":
        assert "the same bits: True" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_does(example: Path) -> None:
    text = example.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            assert (page.parent / path).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_page_name_verbs_that_exist(page: Path) -> None:
    known = {*VERBS, *PLUGIN_HELP, "VERB", "--help", "--version"}
    for block in BLOCK.findall(page.read_text("utf-8")):
        for verb in COMMAND.findall(block):
            assert verb in known, f"{page.name} calls mien {verb}"


def test_the_index_links_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "projection.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    assert {name: tuple(values) for name, *values in rows} == {
        name: (str(value), str(getattr(FAITHFUL, name)), str(getattr(FAST, name)))
        for name, value in asdict(ProjectionSettings()).items()
    }
    search = text[text.index("## NVlabs' projector") :]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| \S.* \|$", search, re.MULTILINE)
    assert dict(rows) == {name: str(value) for name, value in asdict(NVLABS).items()}


def test_the_table_of_gatys_settings_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "gatys.md").read_text("utf-8")
    text = text[text.index("## Settings") : text.index("## Graphs")]
    rows = re.findall(r"^\| `(\w+)` \| (\S.*) \| (\S.*) \|$", text, re.MULTILINE)
    published = asdict(GATYS_PRESETS["published"])
    assert {name: tuple(values) for name, *values in rows} == {
        name: (str(value), str(published[name])) for name, value in asdict(GatysSettings()).items()
    }


def test_the_table_of_errors_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    listed = re.findall(r"^\| (?:\*\*|`)(\w+)(?:\*\*|`) \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(set(errors.__all__) - {"MienError"})
