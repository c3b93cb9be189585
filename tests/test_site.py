"""The site: links out of docs/ find a page, the index is the map, nothing is fetched elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import pages

ROOT = Path(__file__).parents[1]
FETCHED = re.compile(
    r"<(?:script|img|source|iframe)[^>]*\ssrc=\"?([^\s\">]+)|<link[^>]*\shref=\"?([^\s\">]+)"
)


@pytest.mark.parametrize(
    ("uri", "link", "led"),
    [
        ("mix.md", "express.md", "express.md"),
        ("mix.md", "../examples/07_style_table.py", "examples/07_style_table.py.md"),
        ("mix.md", "../examples", "examples/index.md"),
        ("mix.md", "../benchmarks/RESULTS.md", "benchmarks/RESULTS.md"),
        ("api/errors.md", "../errors.md", "../errors.md"),
        ("api/errors.md", "../../LICENSE", "../LICENSE.md"),
        ("CONTRIBUTING.md", "docs/index.md", "index.md"),
        ("export/zoo/faces/card.md", "contact.jpg", "contact.jpg"),
        ("mix.md", "https://arxiv.org/abs/1812.04948", "https://arxiv.org/abs/1812.04948"),
        ("mix.md", "nowhere.md", "nowhere.md"),  # left for the site's own check to refuse
    ],
)
def test_a_link_leads_to_where_the_site_has_its_target(uri: str, link: str, led: str) -> None:
    assert (
        pages.moved(f"[a]({link}) and [b]({link}#part)", uri) == f"[a]({led}) and [b]({led}#part)"
    )


def test_the_sections_of_the_index_are_the_navigation() -> None:
    index = "# Title\n\n- [Not in it](a.md)\n\n## One\n\n- [A](a.md): of\n  two lines\n"
    index += "- [B](../benchmarks/RESULTS.md)\n\n## Two\n\n- [C](api/c.md): c\n"
    assert pages.navigation(index) == [
        {"One": [{"A": "a.md"}, {"B": "benchmarks/RESULTS.md"}]},
        {"Two": [{"C": "api/c.md"}]},
    ]


def test_sources_are_shown_as_they_are_and_folders_as_lists() -> None:
    shown = pages.content_of("examples/01_render.py")
    assert isinstance(shown, str)
    assert (ROOT / "examples/01_render.py").read_text("utf-8").rstrip() in shown
    assert "- [01_render.py](01_render.py): Draw a face" in str(pages.content_of("examples"))


def test_what_a_docstring_raises_becomes_links() -> None:
    pytest.importorskip("griffe")
    from tools.docstrings import with_errors

    text = "Do it.\n\nRaises:\n    NoFace, AmbiguousFace; InputError where\n        it is none.\n"
    assert with_errors(text) == (
        "Do it.\n\n**Raises**\n\n- [`NoFace`][mien_engines.errors.NoFace], "
        "[`AmbiguousFace`][mien_engines.errors.AmbiguousFace]; "
        "[`InputError`][mien_engines.errors.InputError] where\n    it is none.\n"
    )


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=1200,
    )
    built = list(tmp_path.rglob("*.html"))
    assert len(built) > 40
    for page in built:
        for found in FETCHED.findall(page.read_text("utf-8")):
            assert not re.match(r"(?:https?:)?//", "".join(found)), f"{page.name}: {found}"
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text("utf-8"))
