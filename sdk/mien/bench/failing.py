"""Who is left out of a work: it could take no part, or it took part and failed."""

from __future__ import annotations

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
