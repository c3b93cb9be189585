"""Protobuf's text format, as far as a `config.pbtxt` needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

INDENT = "  "


class Word(str):
    """The name of an enumeration's value, which stands without quotes."""


# Field -> a value, a message, or a sequence of either.
Message: TypeAlias = Mapping[str, Any]


def text(message: Message) -> str:
    """Return a message, a field a line. A sequence is a repeated field, a mapping a message."""
    return "".join(f"{line}\n" for line in _lines(message))


def entries(pairs: Mapping[str, str]) -> list[Message]:
    """Return a map field: its entries are messages with a key and a value."""
    return [{"key": key, "value": value} for key, value in pairs.items()]


def _lines(message: Message) -> list[str]:
    lines = []
    for name, field in message.items():
        repeated = isinstance(field, Sequence) and not isinstance(field, str)
        values = field if repeated else [field]
        if repeated and values and not isinstance(values[0], Mapping):
            lines.append(f"{name}: [{', '.join(map(_scalar, values))}]")
            continue
        for value in values:
            if not isinstance(value, Mapping):
                lines.append(f"{name}: {_scalar(value)}")
            elif value:
                lines += [f"{name} {{", *(INDENT + line for line in _lines(value)), "}"]
            else:
                lines.append(f"{name} {{ }}")
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return json.dumps(value, ensure_ascii=False)  # the escapes of JSON are among protobuf's
    return str(value)
