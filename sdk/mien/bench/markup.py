"""Tables of the page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

UNSUPPORTED = "n/a"
# Heads of columns of words.
WORDS = ("", "against", "at", "backend", "cache", "error", "precision", "what to do", "why")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    titles = "".join(
        f'<th class="{"words" if title in WORDS else ""}">{text(title)}</th>' for title in head
    )
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'


def cell(value: object, kind: str = "", title: str = "") -> str:
    extra = (f' class="{kind}"' if kind else "") + (f' title="{text(title)}"' if title else "")
    return f"<td{extra}>{text(str(value))}</td>"


def milliseconds(value: float | None) -> str:
    return UNSUPPORTED if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def text(words: str) -> str:
    return html.escape(words, quote=True)
