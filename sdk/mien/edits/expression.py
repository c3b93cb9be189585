"""What an expression is, and its file: what a smile adds to the code of a face, kept and shared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.edits.directions import as_direction
from mien.edits.tensor_files import SUFFIX, check_suffix, load_tensors, save_tensors
from mien.errors import ArchMismatch, CorruptFile, InputError
from mien_engines import Bundle

SHIPPED = Path(__file__).parents[1] / "zoo" / "expressions"
KIND = "an expression"
HEADER = "mien.expression"  # key of the metadata that holds the record, as JSON
VERSION = 1
MAX_NAME = 80  # characters; names go to terminals


@dataclass(frozen=True, eq=False)
class Expression:
    """A difference of codes that is one expression, and where it comes from.

    name: such as "happy". direction: float32 [L, D].
    mask: bool [L], the layers that it is added to.
    generator: name of the bundle whose codes it was found in.
    generator_sha256: of the checkpoint that the bundle was made from; "" where it is not known,
        and then only shapes are compared.
    sources: SHA-256 of the files that it was made from, or of codes, neutral ones first.
    licence, note: for whoever it is shared with.
    """

    name: str
    direction: NDArray[np.float32]
    mask: NDArray[np.bool_]
    generator: str = ""
    generator_sha256: str = ""
    sources: tuple[str, ...] = ()
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for text in (self.name, self.generator):
            if not text.isprintable() or len(text) > MAX_NAME:
                raise InputError(
                    "a name in the expression is not one line of printable characters",
                    hint=f"Use at most {MAX_NAME}",
                )
        direction, mask = as_direction(self.direction), np.asarray(self.mask)
        if mask.dtype != np.bool_ or mask.shape != (len(direction),):
            raise InputError(
                f"the mask of expression {self.name} is {mask.dtype} {list(mask.shape)}, "
                f"expected bool [{len(direction)}]",
                hint="Give one value for each layer: mien.edits.latents.layer_mask",
            )
        object.__setattr__(self, "direction", direction)
        object.__setattr__(self, "mask", mask)

    def record(self) -> dict[str, Any]:
        """Return all but the tensors, for JSON."""
        return {
            "name": self.name,
            "generator": {"name": self.generator, "sha256": self.generator_sha256},
            "sources": list(self.sources),
            "licence": self.licence,
            "note": self.note,
        }

    def check(self, bundle: Bundle) -> None:
        """Raise ArchMismatch where it is known to be of another generator than the bundle's."""
        wanted = bundle.spec.source.sha256
        if self.generator_sha256 and self.generator_sha256 != wanted:
            raise ArchMismatch(
                f"expression {self.name} is of generator {self.generator} "
                f"({self.generator_sha256[:12]}...), bundle {bundle.name} is of another "
                f"({wanted[:12]}...)",
                hint="Make it anew for this one: mien make-expression",
            )

    def save(self, path: str | Path) -> Path:
        """Write FILE.safetensors: both tensors, and the record as JSON; nothing half-written."""
        check_suffix(Path(path), KIND)
        tensors: dict[str, NDArray[Any]] = {
            "direction": self.direction,
            "mask": self.mask.astype(np.uint8),
        }
        return save_tensors(path, tensors, HEADER, {"version": VERSION, **self.record()})


def load_expression(name: str | Path) -> Expression:
    """Read an expression: "happy", "sad" or "fear" come with mien, all else is a file.

    Raises InputError where there is none of that name, CorruptFile where the file holds none.
    """
    path = Path(name)
    if not path.suffix:
        path = SHIPPED / f"{path.name}{SUFFIX}"
        if str(name) not in shipped():
            raise InputError(
                f"there is no expression {str(name)!r}",
                hint=f"Those of mien: {', '.join(shipped())}; or name a file{SUFFIX}",
            )
    tensors, metadata = load_tensors(path)
    try:
        record = json.loads(metadata[HEADER])
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}")
        return Expression(
            name=str(record["name"]),
            direction=tensors["direction"].astype(np.float32),
            mask=tensors["mask"].astype(np.bool_),
            generator=str(record["generator"]["name"]),
            generator_sha256=str(record["generator"]["sha256"]),
            sources=tuple(str(source) for source in record["sources"]),
            licence=str(record["licence"]),
            note=str(record["note"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError, InputError) as error:
        raise CorruptFile(
            f"{path} is not an expression: {error}",
            hint="Make one: mien make-expression. A direction without a record: mien move",
        ) from error


def shipped() -> list[str]:
    """Return the names of the expressions that come with mien, for its demo generator."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}"))


def as_expression(expression: Expression | str | Path) -> Expression:
    """Return an expression that is given itself, by name, or as a file."""
    return expression if isinstance(expression, Expression) else load_expression(expression)
