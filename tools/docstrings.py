"""A griffe extension: the house's `Raises:` as lists, with the errors linked.

The house names several errors in a line (`NoFace, AmbiguousFace; InputError where ...`), which
Google's format has no place for.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

from mien import errors

SECTION = re.compile(r"^Raises:\n((?:    .*(?:\n|$))+)", re.MULTILINE)
NAME = re.compile(rf"(?<![\w`.\[])({'|'.join(errors.__all__)})\b")


class Errors(griffe.Extension):
    """Rewrites what docstrings say of errors before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_errors(obj.docstring.value)


def with_errors(text: str) -> str:
    """Return a docstring whose `Raises` is a Markdown list, a line of the section an entry."""
    text = SECTION.sub(lambda section: f"**Raises**\n\n{_items(section[1])}\n", text)
    raised = re.compile(r"^(?:- |Raises ).*$", re.MULTILINE)
    return raised.sub(lambda line: NAME.sub(r"[`\1`][mien_engines.errors.\1]", line[0]), text)


def _items(block: str) -> str:
    lines = [line.removeprefix("    ") for line in block.rstrip().splitlines()]
    return "\n".join(line if line.startswith(" ") else f"- {line}" for line in lines)
