"""What a family makes of a checkpoint: all that its bundle will hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien_engines.errors import InputError
from mien_export.graph import Graph

Property = int | float | str | list[int | float | str]


@dataclass(frozen=True)
class Extras:
    """Files besides the checkpoint that some families take.

    vgg, lpips: torchvision's vgg16 and the LPIPS heads of version 0.1 for VGG.
    encoder: an encoder into a generator's W+, safetensors.
    """

    vgg: Path | None = None
    lpips: Path | None = None
    encoder: Path | None = None

    def only(self, *names: str, family: str) -> None:
        """Raise InputError where a file is given that the family has no use for."""
        for field_ in fields(self):
            if getattr(self, field_.name) is not None and field_.name not in names:
                raise InputError(
                    f"family {family} has no use for --{field_.name}",
                    hint=f"It takes {', '.join(f'--{n}' for n in names) or 'the checkpoint alone'}",
                )


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
