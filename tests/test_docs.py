"""What the documentation says works: examples run, links lead somewhere, verbs exist."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer
from tools.pages import navigation

import mien
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
    "23_serve",
)
# Families that examples need and that mien may come without; tests/export runs these examples too,
# with bundles of random networks.
NEEDING = {"11_merge": "vaegan", "12_translate": "starganv2", "13_lookalikes": "lookalike"}
PLUGINS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "entry-points"
]["mien.commands"]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")]
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?mien (\S+)", re.MULTILINE)
TYPED = re.compile(r"^(?:\$ )?mien ((?:.*\\\n)*.*)", re.MULTILINE)
INLINE = re.compile(r"`mien ([^`]+)`")
OPTION = re.compile(r"`(--[a-z][a-z0-9-]*)")


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
        timeout=1200,
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


def test_the_numbers_of_the_examples_have_no_gap() -> None:
    numbers = [int(path.name[:2]) for path in EXAMPLES]
    assert numbers == list(range(1, len(EXAMPLES) + 1))


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


@functools.cache
def parser_of(verb: str) -> Any:
    if verb in VERBS:
        module, name = f"mien.cli.{verb.replace('-', '_')}", "command"
    else:
        module, name = PLUGINS[verb].split(":")
    app = typer.Typer(add_completion=False)
    app.command()(getattr(importlib.import_module(module), name))
    return typer.main.get_command(app)


def is_verb(name: str) -> bool:
    return name in VERBS or name in PLUGINS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    """Arguments are parsed and converted; nothing is run."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        for typed in TYPED.findall(block):
            verb, *arguments = shlex.split(typed.replace("\\\n", " "), comments=True)
            if is_verb(verb):
                parser_of(verb).make_context(verb, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_options_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for typed in INLINE.findall(text):
        verb, *arguments = typed.split()
        if is_verb(verb):
            known = options_of(verb)
            assert {one for one in arguments if one.startswith("-")} <= known, typed
    if "benchmarks" in page.parts:
        return  # those in the text are of the scripts there
    named = {*OPTION.findall(BLOCK.sub("", text))}
    assert named <= set().union(*(options_of(verb) for verb in (*VERBS, *PLUGINS)))


def options_of(verb: str) -> set[str]:
    parameters = parser_of(verb).params
    return {name for one in parameters for name in (*one.opts, *one.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_python_of_a_page_names_what_exists(page: Path) -> None:
    for block in PYTHON.findall(page.read_text("utf-8")):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, name = node.value.id, node.attr
                if owner == "studio":
                    assert hasattr(mien.Studio, name), f"studio.{name}"
                if owner in ("mien", "mien_engines"):
                    package = importlib.import_module(owner)
                    found = hasattr(package, name) or importlib.util.find_spec(f"{owner}.{name}")
                    assert found, f"{owner}.{name}"


def test_every_verb_is_typed_on_a_page() -> None:
    pages = [page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")]
    typed = {
        verb for text in pages for block in BLOCK.findall(text) for verb in COMMAND.findall(block)
    }
    assert {*VERBS, *PLUGIN_HELP} <= typed


def test_the_page_of_a_verb_names_the_errors_it_raises() -> None:
    sections = navigation((ROOT / "docs" / "index.md").read_text("utf-8"))
    pages = {title: entries for section in sections for title, entries in section.items()}
    for entry in [*pages["Faces"], *pages["Pictures and films"]]:
        text = (ROOT / "docs" / next(iter(entry.values()))).read_text("utf-8")
        assert {f"`{name}`" for name in errors.__all__} & {*re.findall(r"`\w+`", text)}, entry


def test_the_index_links_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.name == "index.md" or f"({page.relative_to(ROOT / 'docs')})" in index


def test_every_page_ends_with_a_way_back_to_the_index() -> None:
    docs = ROOT / "docs"
    for page in {*docs.rglob("*.md")} - {docs / "index.md"}:
        up = "../" * (len(page.relative_to(docs).parts) - 1)
        last = page.read_text("utf-8").rstrip().splitlines()[-1]
        assert last == f"[All pages]({up}index.md)", page.name


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


def test_the_table_of_errors_groups_them_as_the_tree_does_and_says_what_to_do() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    group = mien.MienError
    rows = re.findall(r"^\| (\*\*|`)(\w+)(?:\*\*|`) \| (.*) \| (.*)\|$", text, re.MULTILINE)
    for mark, name, when, remedy in rows:
        error = getattr(errors, name)
        assert when.strip()
        if mark == "**":
            assert error.__bases__ == (mien.MienError,)
            group = error
        else:
            assert issubclass(error, group) or error.__bases__ == (mien.MienError,), name
            assert remedy.strip(), name


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    """Every decimal of its measured section stands in RESULTS.md too."""
    text = (ROOT / "README.md").read_text("utf-8")
    measured = text[text.index("## Measured") : text.index("## Limits")]
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text("utf-8")
    given = re.findall(r"\b\d+\.\d+\b", measured)
    assert len(given) >= 10
    for figure in given:
        assert re.search(rf"\b{re.escape(figure)}\b", results), figure
