"""Which family of network each verb's --bundle is of. One of another family is no bundle for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mien.bundles import bundle_path
from mien.errors import ArchMismatch
from mien.networks import GENERATORS
from mien_engines import Bundle

FAMILIES = {
    **dict.fromkeys(
        (
            "catalogue", "demo", "edit", "express", "make-expression",
            "mix", "move", "project", "render", "swap", "table",
        ),
        GENERATORS,
    ),
    "stylize": ("adain",),
    "gatys": ("vgg",),
    "merge": ("vaegan",),
    "lookalikes": ("lookalike",),
    "translate": ("starganv2",),
    "video": ("adain", "starganv2", *GENERATORS),
    "webcam": ("adain", "starganv2", *GENERATORS),
}  # fmt: skip


def checked(verb: str, command: Callable[..., object]) -> Callable[..., object]:
    """Return command, which refuses a bundle that the verb would not use.

    A studio takes mien's own network for a family that was not named, so such a bundle would be
    left out without a word.
    """
    if verb not in FAMILIES:
        return command

    @functools.wraps(command)
    def called(*args: Any, **options: Any) -> object:
        if (named := options.get("bundle")) is not None:
            _check(verb, named)
        return command(*args, **options)

    return called


def _check(verb: str, named: str) -> None:
    bundle = Bundle.open(bundle_path(named), verify=False)
    wanted = FAMILIES[verb]
    if bundle.spec.family not in wanted:
        raise ArchMismatch(
            f"bundle {bundle.name} is of family {bundle.spec.family}, and mien {verb} needs one of "
            f"family {' or '.join(wanted)}",
            hint="Name another, or leave --bundle out for mien's own",
        )
