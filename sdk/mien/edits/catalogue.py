"""What a catalogue is, and its file: which parts of a picture each channel of a generator draws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.edits.parts import checked
from mien.edits.tensor_files import SUFFIX, check_suffix, load_tensors, save_tensors
from mien.errors import ArchMismatch, CorruptFile, InputError
from mien_engines import Bundle

SHIPPED = Path(__file__).parents[1] / "zoo" / "catalogues"
OWN = "demo"  # the one that comes with mien, for its demo generator
KIND = "a catalogue"
HEADER = "mien.catalogue"  # key of the metadata that holds the record, as JSON
VERSION = 1

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Clusters of a generator's features, their names, and what each channel adds to each.

    contributions: M (Collins et al. 2020, Eq. 1), float16 [K, S], of K clusters and of the S
        channels of all style layers, one layer after another; the sum over clusters is 1. They are
        means over samples, which are less sure than the half precision they are kept in.
    channels: of each style layer, S in all. centres: float32 [K, C], of length 1.
    layer: the style layer whose features were clustered.
    parts: clusters by name, such as {"eyes": (3, 7)}.
    generator, generator_sha256: the bundle, and the checkpoint that it was made from.
    samples, seed: how many codes were drawn, and of the clustering. licence, note: kept with it.
    """

    contributions: F16
    channels: tuple[int, ...]
    centres: F32
    layer: int
    parts: Mapping[str, tuple[int, ...]]
    generator: str
    generator_sha256: str
    samples: int
    seed: int
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.centres), sum(self.channels))
        values = self.contributions
        if values.shape != shape or not 0 <= self.layer < len(self.channels):
            raise InputError(
                f"contributions have shape {values.shape} and the layer is {self.layer}, expected "
                f"{shape} and one of {len(self.channels)}"
            )
        if not (np.isfinite(values).all() and np.isfinite(self.centres).all()) or values.min() < 0:
            raise InputError("a catalogue's numbers are not finite, or below 0")
        object.__setattr__(self, "parts", checked(self.parts, len(self.centres)))

    def part(self, name: str) -> list[F32]:
        """Return the contributions to a part, [C] for each layer. Raises InputError."""
        if name not in self.parts:
            raise InputError(
                f"the catalogue has no part {name!r}", hint=f"It has {', '.join(self.parts)}"
            )
        clusters = list(self.parts[name])
        rows = self.contributions[clusters].astype(np.float32).sum(0)
        return np.split(rows, np.cumsum(self.channels)[:-1])

    def named(self, parts: Mapping[str, tuple[int, ...]]) -> Catalogue:
        """Return it with these parts instead. Raises InputError for clusters that it has not."""
        return replace(self, parts=parts)

    def check(self, bundle: Bundle) -> None:
        """Raise ArchMismatch where it is of another generator than the bundle's."""
        wanted = bundle.spec.source.sha256
        if self.generator_sha256 != wanted:
            raise ArchMismatch(
                f"the catalogue is of generator {self.generator} "
                f"({self.generator_sha256[:12]}...), bundle {bundle.name} is of another "
                f"({wanted[:12]}...)",
                hint="Make one for this bundle: mien catalogue -o FILE.safetensors --bundle ...",
            )

    def record(self) -> dict[str, Any]:
        """Return all but the tensors, for JSON."""
        return {
            "parts": {name: list(clusters) for name, clusters in self.parts.items()},
            "channels": list(self.channels),
            "layer": self.layer,
            "generator": {"name": self.generator, "sha256": self.generator_sha256},
            "samples": self.samples,
            "seed": self.seed,
            "licence": self.licence,
            "note": self.note,
        }

    def save(self, path: str | Path) -> Path:
        """Write FILE.safetensors: the tensors, and the record as JSON; nothing half-written."""
        check_suffix(Path(path), KIND)
        tensors: dict[str, NDArray[Any]] = {
            "contributions": self.contributions,
            "centres": self.centres,
        }
        return save_tensors(path, tensors, HEADER, {"version": VERSION, **self.record()})


def load_catalogue(path: str | Path) -> Catalogue:
    """Read a catalogue: "demo" comes with mien, all else is a file.

    Raises CorruptFile where the file holds none, LimitExceeded for one that is far too large.
    """
    path = SHIPPED / f"{OWN}{SUFFIX}" if str(path) == OWN else Path(path)
    tensors, metadata = load_tensors(path)
    try:
        record = json.loads(metadata[HEADER])
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}")
        return Catalogue(
            contributions=tensors["contributions"].astype(np.float16),
            channels=tuple(int(count) for count in record["channels"]),
            centres=tensors["centres"].astype(np.float32),
            layer=int(record["layer"]),
            parts={str(name): tuple(map(int, ks)) for name, ks in record["parts"].items()},
            generator=str(record["generator"]["name"]),
            generator_sha256=str(record["generator"]["sha256"]),
            samples=int(record["samples"]),
            seed=int(record["seed"]),
            licence=str(record["licence"]),
            note=str(record["note"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, InputError) as error:
        raise CorruptFile(
            f"{path} is not a catalogue: {error}", hint="Make one: mien catalogue -o FILE"
        ) from error


def as_catalogue(catalogue: Catalogue | str | Path | None) -> Catalogue:
    """Return a catalogue that is given itself or as a file; None is the one of the demo."""
    if isinstance(catalogue, Catalogue):
        return catalogue
    return load_catalogue(OWN if catalogue is None else catalogue)
