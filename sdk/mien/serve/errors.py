"""What the service refuses, and every error's status and body.

MienError
└── ServiceError
    ├── InvalidRequest    422  a field that is missing, unknown or out of range
    ├── NotJson           400  a body that cannot be read as JSON
    ├── NoToken           401  the token is missing or wrong
    ├── Forbidden         403  a host or an origin that is not the service's own
    ├── NotFound          404  no such address, face, style, picture or job
    ├── NotAllowed        405  another method
    ├── TooSlow           408  the request does not arrive in time
    ├── Conflict          409  the job or the face is in no state for it
    ├── BodyTooLarge      413  more bytes than allowed
    ├── WrongType         415  neither JSON nor a picture
    ├── Busy              429  all places are taken
    └── Deadline          503  it would have waited for too long
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, Field

from mien.errors import (
    ArchMismatch,
    BackendUnavailable,
    Cancelled,
    InputError,
    MienError,
    MissingDependency,
    TooLarge,
    UnsupportedFormat,
)


class ServiceError(MienError):
    """The service does not do what was asked. status: of HTTP; headers: that go with it."""

    status: ClassVar[int] = 500
    headers: ClassVar[Mapping[str, str]] = {}


class InvalidRequest(ServiceError):
    """A field is missing, unknown or out of range."""

    status = 422


class NotJson(ServiceError):
    """The body cannot be read as JSON."""

    status = 400


class NoToken(ServiceError):
    """The token is missing or wrong."""

    status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """The request is for another host, or from another site's page."""

    status = 403


class NotFound(ServiceError):
    """There is no such address, face, style, picture or job."""

    status = 404


class NotAllowed(ServiceError):
    """The address takes another method."""

    status = 405


class TooSlow(ServiceError):
    """The request does not arrive in time."""

    status = 408
    headers: ClassVar[Mapping[str, str]] = {"Connection": "close"}


class Conflict(ServiceError):
    """The job or the face is in no state for it."""

    status = 409


class BodyTooLarge(ServiceError):
    """More bytes than allowed."""

    status = 413
    headers: ClassVar[Mapping[str, str]] = {"Connection": "close"}


class WrongType(ServiceError):
    """The body is neither JSON nor a picture."""

    status = 415


class Busy(ServiceError):
    """All places are taken."""

    status = 429
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "2"}


class Deadline(ServiceError):
    """It would have waited for too long."""

    status = 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "2"}


class Problem(BaseModel):
    """Every refusal's body, as every error of mien has it."""

    code: str = Field(description="The error's name, such as NoFace.")
    message: str = Field(description="What is wrong, in a line.")
    hint: str = Field(description="What to do; may be empty.")

    @classmethod
    def of(cls, error: MienError) -> Problem:
        return cls(code=error.code, message=error.message, hint=error.hint)


# The first class that an error is an instance of decides.
STATUS: tuple[tuple[type[MienError], int], ...] = (
    (TooLarge, 413),
    (UnsupportedFormat, 415),
    (InputError, 422),
    (ArchMismatch, 409),  # this service has no network for it
    (Cancelled, 409),
    (BackendUnavailable, 503),
    (MissingDependency, 503),
)


def status_of(error: MienError) -> int:
    """Return the HTTP status that tells of an error."""
    if isinstance(error, ServiceError):
        return error.status
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def headers_of(error: MienError) -> dict[str, str]:
    """Return what goes with it."""
    return dict(error.headers) if isinstance(error, ServiceError) else {}
