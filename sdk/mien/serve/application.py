"""The application: the page, the API, health and metrics, behind the guards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import mien
from mien.errors import MienError, RunError
from mien.serve import wire
from mien.serve.api import PREFIX, router
from mien.serve.bodies import Bodies
from mien.serve.errors import InvalidRequest, NotAllowed, NotFound, NotJson
from mien.serve.files import page_files
from mien.serve.guard import LOOPBACK, Guard
from mien.serve.headers import SafeHeaders
from mien.serve.limits import Limits
from mien.serve.metrics import Timed
from mien.serve.refuse import problem
from mien.serve.service import Service
from mien.studio import Studio

log = logging.getLogger("mien.serve")

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def app(
    studio: Studio,
    *,
    folder: str | Path,
    token: str | None = None,
    hosts: Collection[str] = LOOPBACK,
    literals: bool = False,
    limits: Limits | None = None,
) -> FastAPI:
    """Return the service of a studio, as an ASGI application.

    Args:
        studio: its owner closes it, after the application has ended.
        folder: where jobs are kept, for this service alone.
        token: what requests must show; None asks for none, which is for this machine alone.
        hosts: names that the service goes by; a request for another is refused.
        literals: whether it also goes by any IP address.

    Raises InputError where the folder cannot be used.
    """
    service = Service(studio, Path(folder), limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start(asyncio.get_running_loop())
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    served = FastAPI(
        title="mien",
        version=mien.__version__,
        summary="Face style editing at inference speed.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    served.state.service = service
    served.include_router(router(service))
    _add_service_routes(served, service)
    _add_page(served)
    _answer_errors(served, service)
    served.add_middleware(Bodies, limits=service.limits)
    served.add_middleware(Guard, hosts=hosts, literals=literals, token=token)
    served.add_middleware(Timed, metrics=service.metrics)
    served.add_middleware(SafeHeaders)
    served.openapi()  # builds every route now, in this thread, and not within the first request
    return served


def _add_service_routes(served: FastAPI, service: Service) -> None:
    @served.get("/health", tags=["service"])
    async def health() -> wire.Health:
        """That the service answers, and whether its networks are open."""
        return wire.Health(status="ok", ready=service.ready.is_set(), version=mien.__version__)

    @served.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": METRICS_TYPE})


def _add_page(served: FastAPI) -> None:
    """Give each file its own address, and none to anything else."""
    files = page_files()

    async def page(request: Request) -> Response:
        return files[request.url.path].response(request)

    for address in files:
        served.add_api_route(address, page, methods=["GET", "HEAD"], include_in_schema=False)


def _answer_errors(served: FastAPI, service: Service) -> None:
    """Every refusal is a `Problem`; what was not foreseen says nothing of the inside."""

    def counted(error: MienError) -> JSONResponse:
        service.metrics.refused.labels(error.code).inc()
        return problem(error)

    @served.exception_handler(MienError)
    async def refused(_: Request, error: MienError) -> JSONResponse:
        return counted(error)

    @served.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return counted(_of_validation(list(error.errors())))

    @served.exception_handler(HTTPException)
    async def unanswered(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            answer = counted(NotAllowed("the address takes another method", hint=allowed))
            answer.headers["Allow"] = allowed
            return answer
        if error.status_code == 404:
            return counted(NotFound("there is nothing at this address"))
        return counted(NotJson("the body cannot be read", hint="Send JSON"))

    @served.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return counted(RunError("something went wrong here", hint="The service's log says what"))


def _of_validation(errors: list[Any]) -> MienError:
    """What is wrong with the fields, in a line."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return NotJson("the body is no JSON", hint=str(first.get("ctx", {}).get("error", "")))
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query"))
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    text = f"{where or 'the body'}: {first['msg']}{more}"
    return InvalidRequest(
        " ".join(text.split())[:400], hint=f"The schema is at {PREFIX}/openapi.json"
    )
