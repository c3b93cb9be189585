"""What a family makes of a checkpoint: all that its bundle will hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import InputError
from mien_export.graph import Graph

Property = int | float | str | list[int | float | str]


@dataclass(frozen=True)
class Extras:
    """What some families take besides the checkpoint: files, and what no file tells.

    vgg, lpips: torchvision's vgg16 and the LPIPS heads of version 0.1 for VGG.
    encoder: an encoder into a generator's W+, safetensors.
    landmarks: a network that finds points in a face, beside a detector.
    arcface: a recognition network, any that the family arcface reads.
    value_range: which numbers a network means by black and white: 255 (0 to 255), 1 (0 to 1),
        sym (-1 to 1).
    domains: names of a network's domains, in its order, with commas between them.
    """

    vgg: Path | None = None
    lpips: Path | None = None
    encoder: Path | None = None
    landmarks: Path | None = None
    arcface: Path | None = None
    value_range: str | None = field(default=None, metadata={"option": "range"})
    domains: str | None = None

    def only(self, *names: str, family: str) -> None:
        """Raise InputError where something is given that the family has no use for."""
        for field_ in fields(self):
            if getattr(self, field_.name) is not None and field_.name not in names:
                taken = ", ".join(f"--{_option(f)}" for f in fields(self) if f.name in names)
                raise InputError(
                    f"family {family} has no use for --{_option(field_)}",
                    hint=f"It takes {taken or 'the checkpoint alone'}",
                )


def _option(field_: Field[Any]) -> str:
    """The name of a field on the command line."""
    return str(field_.metadata.get("option", field_.name))


@dataclass(frozen=True, eq=False)
class Content:
    """Graphs and what goes with them.

    format, sha256: of the checkpoint. properties: what run time must know, by name.
    constants: tensors for the run time. notes: what the user should know.
    """

    graphs: Sequence[Graph]
    format: str
    sha256: str
    properties: Mapping[str, Property] = field(default_factory=dict)
    constants: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
