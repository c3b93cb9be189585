"""Naming some of a network's layers: words, numbers, or the resolutions that they serve."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mien.errors import InputError

INDICES = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")  # 9, 9-17
PIXELS = re.compile(r"(\d{1,5})(?:px)?-(\d{1,5})px|(\d{1,5})px(\+?)")  # 4-8px, 64px, 64px+

Range = str | int | Iterable[int]


def chosen(
    wanted: Range,
    names: Mapping[str, Iterable[int]],
    resolutions: Sequence[int],
    *,
    noun: str,
    owner: str,
) -> tuple[int, ...]:
    """Return the numbers that are meant, sorted.

    Args:
        wanted: one of `names`; "9-17", "0,4-7"; "64px+", "4-8px", "16px"; a number; or numbers.
        names: words, and the numbers that each stands for.
        resolutions: that each number serves, in px; there are as many numbers as resolutions.
        noun, owner: what is numbered, and whose it is, for messages: "layer", "code".

    Raises InputError: not understood, or a number that there is none of.
    """
    found = (
        _parsed(wanted, names, resolutions, noun, owner)
        if isinstance(wanted, str)
        else [wanted] if isinstance(wanted, int) else [int(i) for i in wanted]
    )  # fmt: skip
    count = len(resolutions)
    outside = [i for i in found if not 0 <= i < count]
    if outside:
        raise InputError(
            f"{noun} {outside[0]} does not exist: the {owner} has {count} {noun}s",
            hint=f"Name {noun}s from 0 to {count - 1}, or one of {', '.join(names)}",
        )
    return tuple(sorted(set(found)))


def _parsed(
    text: str,
    names: Mapping[str, Iterable[int]],
    resolutions: Sequence[int],
    noun: str,
    owner: str,
) -> list[int]:
    if text in names:
        return list(names[text])
    found: list[int] = []
    for part in map(str.strip, text.split(",")):
        if match := INDICES.fullmatch(part):
            first, last = int(match[1]), int(match[2] or match[1])
            _check_order(first, last, part, noun)
            found += range(first, last + 1)
        elif match := PIXELS.fullmatch(part):
            low = int(match[1] or match[3])
            high = max(resolutions) if match[4] else int(match[2] or low)
            _check_resolutions(low, high, resolutions, noun, owner)
            found += [i for i, px in enumerate(resolutions) if low <= px <= high]
        else:
            raise InputError(
                f"{noun}s {text!r} is not understood",
                hint=f"Type {', '.join(names)}, numbers such as 9-17 or 0,4-7, or 64px+ or 4-8px",
            )
    return found


def _check_resolutions(
    low: int, high: int, resolutions: Sequence[int], noun: str, owner: str
) -> None:
    for px in (low, high):
        if px not in resolutions:
            listed = ", ".join(map(str, sorted(set(resolutions))))
            raise InputError(
                f"{noun}s of {px} px do not exist: the {owner} has {len(resolutions)} {noun}s",
                hint=f"Those of this generator: {listed} px",
            )
    _check_order(low, high, f"{low}-{high}px", noun)


def _check_order(first: int, last: int, part: str, noun: str) -> None:
    if first > last:
        raise InputError(
            f"{noun}s {part} run backwards and name none", hint="Name the lower end first"
        )
