"""Who is left out of a work: it could take no part, or it took part and failed."""

from __future__ import annotations

from collections.abc import Iterable

from mien.bench.report import Failure, Refusal, Stage
from mien.errors import (
    ArchMismatch,
    BackendUnavailable,
    InputError,
    MienError,
    MissingDependency,
    NotBuilt,
    ParityFailed,
)

# Said at the door, these are no faults of whoever says them: it has no plan of this graph, its gate
# is shut, or the work does not fit.
DECLINING = (
    ArchMismatch,
    BackendUnavailable,
    InputError,
    MissingDependency,
    NotBuilt,
    ParityFailed,
)
DOOR: tuple[Stage, ...] = ("opening", "first call")


def left_out(work: str, who: str, stage: Stage, error: MienError) -> Refusal | Failure:
    """Return what a report says of a contestant that an error has stopped."""
    if stage in DOOR and isinstance(error, DECLINING):
        return Refusal(work=work, who=who, reason=str(error))
    return failure(work, who, stage, error)


def failure(work: str, who: str, stage: Stage, error: MienError) -> Failure:
    """Return what a report says of a contestant that failed."""
    return Failure(
        work=work, who=who, stage=stage, code=error.code, reason=error.message, hint=error.hint
    )


def said_once(refusals: Iterable[Refusal]) -> list[tuple[str, str, str]]:
    """Work, names and reason of each refusal; those of one work with the same reason are one.

    names: "trt, trt-fp16"; "" where a work failed. Backends of one library lack the same.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for one in refusals:
        names.setdefault((one.work, one.reason), []).append(one.who)
    return [(work, ", ".join(whos), reason) for (work, reason), whos in names.items()]
