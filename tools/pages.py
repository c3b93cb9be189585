"""The site's hook: what lies outside docs/ and is linked gets a page, and the index is the map.

Pages link to one another as files of the repository, so that they read the same without the site.
Here a link out of docs/ becomes one to a page of its own: Markdown as it is, sources in a block,
folders as a list. The sections of docs/index.md are the navigation.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[#)])")
ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)\s#]+)\)", re.MULTILINE)
PICTURES = {".png", ".jpg", ".gif", ".webp", ".svg"}
LANGUAGES = {".py": "python", ".cpp": "cpp", ".hpp": "cpp", ".h": "cpp", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the index."""
    config.nav = [{"mien": "index.md"}, *navigation((ROOT / "docs/index.md").read_text("utf-8"))]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked outside docs/, and what that links."""
    from mkdocs.structure.files import File, InclusionLevel

    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        uri = waiting.pop()
        page = files.get_file_from_path(uri)
        if page is None or page.is_media_file() or not _has_links(uri):
            continue
        for target in targets(page.content_string, home_of(uri)):
            if files.get_file_from_path(place_of(target)) is not None:
                continue
            new = File.generated(
                config,
                place_of(target),
                content=content_of(target),
                inclusion=InclusionLevel.NOT_IN_NAV,
            )
            files.append(new)
            waiting.append(new.src_uri)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead a page's links to where the site has what they name."""
    uri = page.file.src_uri
    return moved(markdown, uri) if _has_links(uri) else markdown


def navigation(index: str) -> list[dict[str, list[dict[str, str]]]]:
    """Return the sections of an index, with the pages that their lists name."""
    sections = re.split(r"^## ", index, flags=re.MULTILINE)[1:]
    return [
        {
            section.splitlines()[0]: [
                {title: place_of(posixpath.normpath(posixpath.join("docs", target)))}
                for title, target in ENTRY.findall(section)
            ]
        }
        for section in sections
    ]


def targets(markdown: str, home: str) -> Iterator[str]:
    """Yield what a page links that is in the repository, from its root."""
    for target in LINK.findall(markdown):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        if ":" not in target and not path.startswith("..") and (ROOT / path).exists():
            yield path


def moved(markdown: str, uri: str) -> str:
    """Return a page of the site with its links to files of the repository led to the site's."""
    home, folder = home_of(uri), posixpath.dirname(uri)

    def lead(link: re.Match[str]) -> str:
        found = list(targets(f"]({link[1]})", home))
        return posixpath.relpath(place_of(found[0]), folder or ".") if found else link[1]

    return LINK.sub(lead, markdown)


def place_of(path: str) -> str:
    """Return where the site has a file or a folder of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{path}/index.md"
    return path if Path(path).suffix in {".md", *PICTURES} else f"{path}.md"


def home_of(uri: str) -> str:
    """Return which file of the repository a page of the site is."""
    return f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri


def content_of(path: str) -> str | bytes:
    """Return what the site shows of a file or a folder that lies outside docs/."""
    whole = ROOT / path
    if whole.is_dir():
        return f"# {path}\n\n" + "\n".join(_entries(whole)) + "\n"
    if whole.suffix in PICTURES:
        return whole.read_bytes()
    if whole.suffix == ".md":
        return whole.read_text("utf-8")
    language = LANGUAGES.get(whole.suffix, "text")
    return f"# {path}\n\n`````{language}\n{whole.read_text('utf-8').rstrip()}\n`````\n"


def _entries(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*.*")):
        if file.suffix not in {".md", ".txt", *LANGUAGES}:
            continue
        text = file.read_text("utf-8")
        what = text.removeprefix('"""').splitlines()[0] if text.startswith('"""') else ""
        name = file.relative_to(folder).as_posix()
        yield f"- [{name}]({name}): {what}" if what else f"- [{name}]({name})"


def _has_links(uri: str) -> bool:
    """Whether a page's links are of the repository: listings of sources have none."""
    return (ROOT / home_of(uri)).is_file() or uri.endswith("/index.md")
