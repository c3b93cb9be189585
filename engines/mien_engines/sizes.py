"""Which sizes a plan is built for: the least, the usual and the greatest of each open dimension.

The names are those of the bundle's shapes. A name such as "H/4" is a quarter of "H", wherever that
is known; "H'" and names that only outputs have follow from the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mien_engines.errors import InputError
from mien_engines.spec import BundleSpec, GraphSpec

Range = tuple[int, int, int]
BATCH: Range = (1, 1, 8)
SIDE: Range = (64, 512, 1024)
PART = re.compile(r"^(\w+)/(\d+)$")
TYPED = re.compile(r"^(\w+)=(\d+):(\d+):(\d+)$")


def parse_sizes(texts: list[str]) -> dict[str, Range]:
    """Sizes as they are typed, "N=1:1:8". Raises InputError."""
    found = {}
    for text in texts:
        match = TYPED.match(text)
        if not match:
            raise InputError(
                f"size {text!r} is not NAME=LEAST:USUAL:GREATEST", hint="Type, say, N=1:1:8"
            )
        name, *numbers = match.groups()
        found[name] = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
    return found


def open_dimensions(spec: GraphSpec) -> list[str]:
    """The names of the inputs' open dimensions, without those that are parts of others."""
    names = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    return sorted(name for name in names if not PART.match(name))


def sizes_of(
    bundle: BundleSpec, spec: GraphSpec, asked: Mapping[str, Range] | None = None
) -> dict[str, Range]:
    """The range of every open dimension of a graph: what is asked for, else what is usual.

    Raises InputError for a range that is none, or a name that the graph does not have.
    """
    names = open_dimensions(spec)
    usual_least = bundle.properties.get("least_side", SIDE[0])
    least = max(SIDE[0], usual_least) if isinstance(usual_least, int) else SIDE[0]
    usual = {name: BATCH if name == "N" else (least, SIDE[1], SIDE[2]) for name in names}
    for name, (low, middle, high) in (asked or {}).items():
        if not 1 <= low <= middle <= high:
            raise InputError(
                f"size {name} is {low}:{middle}:{high}, expected 1 <= least <= usual <= greatest"
            )
        if name in usual:
            usual[name] = (low, middle, high)
    return usual


def check_names(specs: list[GraphSpec], asked: Mapping[str, Range]) -> None:
    """Raise InputError for a size that no graph has."""
    known = sorted({name for spec in specs for name in open_dimensions(spec)})
    for name in asked:
        if name not in known:
            raise InputError(
                f"no graph has an open dimension {name!r}", hint=f"There are: {', '.join(known)}"
            )


def profile(spec: GraphSpec, sizes: Mapping[str, Range]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """For each input its least, usual and greatest shape."""
    return {
        tensor.name: tuple(
            tuple(_size(size, sizes, which) for size in tensor.shape) for which in range(3)
        )
        for tensor in spec.inputs
    }


def _size(size: int | str, sizes: Mapping[str, Range], which: int) -> int:
    if isinstance(size, int):
        return size
    part = PART.match(size)
    if not part:
        return sizes[size][which]
    whole, divisor = sizes[part.group(1)][which], int(part.group(2))
    return -(-whole // divisor) if which == 2 else whole // divisor  # odd sizes round either way
