"""A plan's file: what it was made of, how far it is from the reference, and the plan itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mien_engines.errors import Untrusted
from mien_engines.sizes import Range
from mien_engines.spec import Precision

MAGIC = b"mien plan 1\n"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1 << 20
REVISION = 1  # of our own code: raise it when the same graph would become another plan
# What decides whether a plan runs here, in the order in which a difference is told.
MACHINE = ("library", "version", "gpu", "sm", "driver", "flags", "revision")


class PlanKey(BaseModel):
    """All that decides what a plan is.

    graph: its name. digest: of its ONNX file and its weights. library: "trt" or "rtx".
    gpu, sm, driver: of the machine; "none" where a plan was built without one.
    sizes: open dimension -> least, usual, greatest. keep: what stays float32 on request.
    flags: of the builder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: str
    digest: str
    library: str
    version: str
    gpu: str
    sm: str
    driver: str
    precision: Precision
    sizes: dict[str, Range]
    keep: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    revision: int = REVISION

    @property
    def folder(self) -> str:
        return f"{self.graph}-{self.digest[:16]}"

    @property
    def name(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"{self.library}-{self.precision}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def differences(self, machine: Mapping[str, Any]) -> list[str]:
        """Why it does not run on a machine that has these fields; nothing where it does."""
        return [
            f"it was built for {name} {shown(getattr(self, name))}, this is {shown(machine[name])}"
            for name in MACHINE
            if name in machine and getattr(self, name) != machine[name]
        ]


class Verdict(BaseModel):
    """What the gate found. error: None where it was not asked, for want of a GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: bool
    error: float | None = None
    tolerance: float | None = None
    detail: str = ""


class PlanHeader(BaseModel):
    """What stands before a plan in its file. layers: of the network. seconds: of the build."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: PlanKey
    verdict: Verdict
    sha256: str
    nbytes: int
    layers: int
    seconds: float


def shown(value: object) -> str:
    """A field of a key, for people."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def graph_digest(path: Path) -> str:
    """SHA-256 of an ONNX file and of the weights beside it that it points into."""
    data = path.read_bytes()
    total = hashlib.sha256(data)
    for weights in sorted(path.parent.glob("*.safetensors")):
        if weights.name.encode() in data:
            total.update(_file_digest(weights, weights.stat().st_mtime_ns))
    return total.hexdigest()


_digests: dict[tuple[Path, int, int], bytes] = {}


def _file_digest(path: Path, written: int) -> bytes:
    """Of a file of weights, which all graphs of a bundle share: read once a process."""
    known = (path.resolve(), path.stat().st_size, written)
    if known not in _digests:
        with path.open("rb") as file:
            _digests[known] = hashlib.file_digest(file, "sha256").digest()
    return _digests[known]


def packed(header: PlanHeader, plan: bytes) -> bytes:
    """A plan's file: magic, length of the header, header as JSON, plan."""
    text = header.model_dump_json().encode()
    return MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text + plan


def unpacked(path: Path) -> tuple[PlanHeader, bytes]:
    """What `packed` made. Raises Untrusted where a byte is not as it was."""
    header = read_header(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Untrusted(f"{path} cannot be read: {error.strerror}") from error
    plan = data[len(data) - header.nbytes :]
    if len(plan) != header.nbytes or hashlib.sha256(plan).hexdigest() != header.sha256:
        raise Untrusted(f"{path} is damaged", hint="Build the plan again")
    return header, plan


def read_header(path: Path) -> PlanHeader:
    """The header alone. Raises Untrusted where it is none, or does not fit the file's length."""
    start = len(MAGIC) + LENGTH_BYTES
    try:
        with path.open("rb") as file:
            begin = file.read(start)
            length = int.from_bytes(begin[len(MAGIC) :], "little")
            if not begin.startswith(MAGIC) or length > MAX_HEADER_BYTES:
                raise Untrusted(f"{path} is not a plan of mien's", hint="Build it again")
            header = PlanHeader.model_validate_json(file.read(length))
        nbytes = path.stat().st_size
    except (OSError, ValidationError) as error:
        raise Untrusted(f"{path} is damaged", hint="Build the plan again") from error
    if nbytes != start + length + header.nbytes:
        raise Untrusted(f"{path} is damaged: it has {nbytes} bytes", hint="Build the plan again")
    return header
