"""What a benchmark found: the record that is written as JSON, compared with later, and drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from mien.bench.allocations import Allocations
from mien.bench.ratios import Comparison
from mien.bench.stats import Summary
from mien.errors import CorruptFile, InputError
from mien.whole_files import write_whole
from mien_engines.backends import LISTING
from mien_engines.spec import Precision

LIVE = "live"  # the work that timelines are of
FILMS = ("film", "face-film")  # works whose calls are frames of films
Stage = Literal[
    "opening", "first call", "accuracy", "warm-up", "timing", "allocations", "fresh process", "run"
]
ON_GPU = ("ort-cuda", "trt", "rtx")  # how names of backends begin that run on a GPU


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(_Record):
    """The first GPU that this process may use. sm: "9.0". driver: "580.95.05"."""

    name: str
    sm: str
    driver: str


class Computer(_Record):
    """The machine, and how busy it was.

    gpu: as nvidia-smi tells; None without one.
    load: runnable threads, the mean of a minute, before and after; None where it is not told.
    """

    cpu: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    load: tuple[float, float] | None
    gpu: Gpu | None = None


class Settings(_Record):
    """How it was measured.

    batch: samples of a call. streams: callers at once (multi-stream), workers (server).
    rate: requests a second (server) that were asked for; None where each work has its own, which
        its cases have. caches: of the processor, before each call.
    """

    scenario: str
    batch: int = 1
    streams: int = 1
    rate: float | None = None
    threads: int = 1
    seed: int = 0
    caches: Literal["warm", "cold"] = "warm"


class Accuracy(_Record):
    """How far the contestant that was timed is from ONNX Runtime in float32.

    value: in the words of measure, below 0 where a loss is lower than the reference's; None where
    it is not finite. tolerance, passed: of the bundle's gate; None where there is no gate, as for a
    whole verb.
    """

    measure: str
    value: float | None
    tolerance: float | None = None
    passed: bool | None = None
    detail: str = ""

    @field_validator("value")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    @property
    def shown(self) -> str:
        """The value, for people."""
        return "not finite" if self.value is None else f"{self.value:.2g}"


class Counts(_Record):
    """What a graph computes and moves at least (mien_engines.counting).

    flops: of convolutions and products of matrices. bytes: of what they read and write, at the
    contestant's precision. products, nodes: operators. uncounted: products of unknown sizes.
    """

    flops: float
    bytes: float
    products: int
    nodes: int
    uncounted: int


class Case(_Record):
    """A contestant at a work, in the settings of the report.

    rounds_ms: each call, a list a round. service_ms: median of a call alone, in the server.
    rate: requests a second, in the server.
    per_second: samples that were finished. open_ms, first_ms: in this process, nothing cached.
    busy: part of the time that workers were at work, in the server.
    """

    work: str
    who: str
    precision: Precision
    summary: Summary
    per_second: float
    rounds_ms: tuple[tuple[float, ...], ...]
    open_ms: float | None = None
    first_ms: float | None = None
    rate: float | None = None
    service_ms: float | None = None
    busy: float | None = None
    overloaded: bool = False
    accuracy: Accuracy | None = None
    allocations: Allocations | None = None
    counts: Counts | None = None

    @property
    def name(self) -> str:
        return f"{self.work}, {self.who}"

    @property
    def on_gpu(self) -> bool:
        return on_gpu(self.who)


class Refusal(_Record):
    """Who took no part, and why. work: "" for all of them. who: "" where a work failed."""

    work: str
    who: str
    reason: str


class Failure(_Record):
    """Who took part, and failed. The others of the work were measured without it.

    stage: what it failed at; at "fresh process" it has the figures of this process. code, reason,
    hint: of its error.
    """

    work: str
    who: str
    stage: Stage
    code: str
    reason: str
    hint: str = ""

    @property
    def line(self) -> str:
        """The error, for people."""
        return f"{self.code}: {self.reason}" + (f". {self.hint}" if self.hint else "")


class Start(_Record):
    """A fresh process, from its start to its first result; medians of so many.

    cache: mien's own, of compiled forms: cold is an empty one. The files are in the system's cache.
    import_s, load_s, call_s: `import mien`, opening, and the first result; total_s has all, with
    Python's own start. again_ms: the second result. resident_mb: after it; device_mb: then, too, of
    a backend that runs on a GPU.
    """

    work: str
    who: str
    cache: Literal["cold", "warm"]
    count: int
    import_s: float
    load_s: float
    call_s: float
    total_s: float
    again_ms: float
    imported_mb: float | None
    resident_mb: float | None
    peak_mb: float | None
    device_mb: float | None = None


class Shown(_Record):
    """A picture of a real-time run: when it was shown, after which frame time, how old, and how
    many frames had been dropped by then."""

    at_s: float
    frame_ms: float
    age_ms: float
    dropped: int


class Timeline(_Record):
    """A real-time run."""

    who: str
    summary: dict[str, Any]
    shown: tuple[Shown, ...]


class Roof(_Record):
    """Ceilings of this machine, measured: bytes and operations a second."""

    threads: int
    copied: float
    product: dict[str, float]
    by: str


class Memory(_Record):
    """Of the measuring process at its end, with all contestants in it."""

    resident_mb: float | None
    peak_mb: float | None
    device_mb: float | None


class BenchReport(_Record):
    """Everything that a run of `mien bench` found.

    broken: what the baseline had and this run has not, a line each: cases that are not measured
        now, and results that no longer pass their gate.
    """

    schema_version: Literal[2] = 2
    made: str
    computer: Computer
    settings: Settings
    cases: tuple[Case, ...]
    comparisons: tuple[Comparison, ...] = ()
    baseline: tuple[Comparison, ...] = ()
    broken: tuple[str, ...] = ()
    floors: dict[str, float] = {}
    refusals: tuple[Refusal, ...] = ()
    failures: tuple[Failure, ...] = ()
    starts: tuple[Start, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    roof: Roof | None = None
    memory: Memory | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, record: Any) -> Any:
        """It wrote -1 for what is not finite, and is the same otherwise."""
        if not isinstance(record, dict) or record.get("schema_version") != 1:
            return record
        cases = record.get("cases")
        if isinstance(cases, list):
            record = record | {"cases": [_finite_of_version_1(case) for case in cases]}
        return record | {"schema_version": 2}

    @property
    def regressions(self) -> tuple[Comparison, ...]:
        """What of mien's is slower than it was; rivals may be."""
        return tuple(
            found
            for found in self.baseline
            if found.verdict == "slower" and is_ours(found.case.rpartition(", ")[2])
        )

    @property
    def empty(self) -> bool:
        """Nothing at all was measured."""
        return not (self.cases or self.timelines)

    def failed_at(self, work: str) -> list[str]:
        """Who failed at a work and has no figures there."""
        measured = {case.who for case in self.cases if case.work == work}
        failed = dict.fromkeys(one.who for one in self.failures if one.work == work)
        return [who for who in failed if who not in measured]

    @property
    def unmeasured(self) -> set[str]:
        """Works that failed, or in which nobody could take part."""
        measured = {case.work for case in self.cases} | {LIVE for _ in self.timelines}
        refused = {one.work for one in self.refusals if one.work}
        failed = {one.work for one in self.failures}
        return (refused | failed) - measured | {one.work for one in self.refusals if not one.who}

    @property
    def failed(self) -> bool:
        """Something is worse than it was, failed, or is not measured: the command's status is 1."""
        worse = self.regressions or self.broken
        return bool(worse or self.failures or self.unmeasured) or self.empty

    def save(self, path: str | Path) -> Path:
        """Write it as JSON; the file is whole or not there. Raises InputError."""
        return write_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises InputError, or CorruptFile for another file."""
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise CorruptFile(f"{path} is no report of mien bench: it is not text") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "report"
            raise CorruptFile(
                f"{path} is no report of mien bench: {where}: {first['msg']}",
                hint="Make one: mien bench ... -o FILE.json",
            ) from error


def calls_said(cases: Sequence[Case]) -> str:
    """At which rate a work was sent its calls, as a server, or that they are frames."""
    rate = next((case.rate for case in cases if case.rate is not None), None)
    if rate is not None:
        return f", {rate:g} requests a second"
    return ", frame by frame" if any(case.work in FILMS for case in cases) else ""


def _finite_of_version_1(case: Any) -> Any:
    accuracy = case.get("accuracy") if isinstance(case, dict) else None
    if not isinstance(accuracy, dict) or accuracy.get("value") != -1:
        return case
    return case | {"accuracy": accuracy | {"value": None}}


def is_ours(who: str) -> bool:
    """Whether a contestant is a backend of mien's, and not a rival."""
    return who in LISTING


def on_gpu(who: str) -> bool:
    """Whether a backend runs on a GPU."""
    return who.startswith(ON_GPU)
