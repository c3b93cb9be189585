"""The addresses under /api/v1: each reads its request, has the work done, and answers.

The schema is at /api/v1/openapi.json.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request, Response, WebSocket
from fastapi.responses import StreamingResponse

import mien
from mien.images import Picture
from mien.serve import wire
from mien.serve.drawing import VERBS
from mien.serve.errors import Conflict, InvalidRequest, Problem, WrongType
from mien.serve.events import stream
from mien.serve.files import portraits
from mien.serve.job import Job
from mien.serve.line import Done
from mien.serve.service import Service
from mien.serve.store import ID, Face

PREFIX = "/api/v1"
T = TypeVar("T", bound=wire.Asked)

Named = Annotated[str, Path(pattern=ID)]
MEDIA = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
PICTURE: dict[str, Any] = {
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA.values()}
}
SENT_PICTURE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")
        },
    }
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What may be answered instead. Every address may refuse who asks, and how."""
    always = (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503)
    return {status: {"model": Problem} for status in (*always, *statuses)}


def router(service: Service) -> APIRouter:
    """Return the addresses of a service."""
    api = APIRouter(prefix=PREFIX, responses=_refusals())
    drawer, jobs, line = service.drawer, service.jobs, service.line
    faces = service.store.faces

    @api.get("/capabilities", tags=["service"])
    async def capabilities(request: Request) -> wire.Capabilities:
        """What can be done here, with what, and within which limits."""
        return (await line.run(lambda: _capabilities(service), request)).value

    @api.post(
        "/photos", status_code=201, tags=["faces"], openapi_extra=SENT_PICTURE,
        responses={201: {"model": wire.PhotoOut}},
    )  # fmt: skip
    async def send_photo(request: Request) -> wire.PhotoOut:
        """Send a photograph; its faces are found and aligned."""
        data = await _picture_sent(request)
        found = (await line.run(lambda: drawer.photo(data), request)).value
        width, height = found.size
        shown = [_face_out(face) for face in found.faces]
        return wire.PhotoOut(width=width, height=height, found=found.count, faces=shown)

    @api.post("/samples", status_code=201, tags=["faces"])
    async def sample(asked: wire.SampleIn, request: Request) -> wire.FaceOut:
        """Make a face that does not exist. It can be worked with at once."""
        return _face_out((await line.run(lambda: drawer.sample(asked), request)).value)

    @api.get("/faces/{name}", tags=["faces"])
    async def face(name: Named) -> wire.FaceOut:
        """A face, as its photograph's answer had it."""
        return _face_out(faces[name])

    @api.get(
        "/faces/{name}/picture", tags=["faces"], response_class=Response, responses={200: PICTURE}
    )
    async def face_picture(name: Named, request: Request) -> Response:
        """The aligned crop of a face."""
        crop = Picture(faces[name].large, faces[name].how or ("align",))
        done = await line.run(lambda: crop.encode("png"), request)
        return _file(done.value, "png", "face")

    @api.delete("/faces/{name}", status_code=204, tags=["faces"])
    async def forget_face(name: Named) -> None:
        """Forget a face. Jobs that work on it have their own copy."""
        _ = faces[name]
        faces.remove(name)

    @api.post("/styles", status_code=201, tags=["faces"], openapi_extra=SENT_PICTURE)
    async def send_style(request: Request) -> wire.StyleOut:
        """Send a picture whose style is to be drawn in."""
        data = await _picture_sent(request)
        return wire.StyleOut(id=(await line.run(lambda: drawer.style(data), request)).value)

    def draws(verb: str, draw: Callable[[T], Picture], model: type[T]) -> None:
        """Add the address of a quick verb."""

        async def handler(asked: Any, request: Request) -> Response:
            def work() -> bytes:
                with service.metrics.draws.labels(verb).time():
                    return draw(asked).encode(asked.kind)

            done = await line.run(work, request)
            return _file(done.value, asked.kind, verb, done)

        handler.__annotations__ = {"asked": model, "request": Request, "return": Response}
        handler.__name__, handler.__doc__ = verb, draw.__doc__
        api.post(f"/{verb}", tags=["draw"], response_class=Response, responses={200: PICTURE})(
            handler
        )

    def mix(asked: wire.MixIn) -> Picture:
        """Draw a face with layers of another."""
        bands = wire.Bands(
            other=asked.other, coarse=asked.coarse, middle=asked.middle, fine=asked.fine
        )
        return drawer.draw(wire.DrawIn(**_common(asked), mix=bands))

    def express(asked: wire.ExpressIn) -> Picture:
        """Draw a face with one expression."""
        strengths = {asked.expression: asked.strength}
        return drawer.draw(wire.DrawIn(**_common(asked), expressions=strengths))

    draws("draw", drawer.draw, wire.DrawIn)
    draws("mix", mix, wire.MixIn)
    draws("express", express, wire.ExpressIn)
    draws("edit", drawer.edit, wire.EditIn)
    draws("stylize", drawer.stylize, wire.StylizeIn)
    draws("lookalike", drawer.lookalike, wire.LookalikeIn)
    draws("merge", drawer.merge, wire.MergeIn)
    draws("translate", drawer.translate, wire.TranslateIn)

    @api.post("/jobs", status_code=202, tags=["jobs"], responses={200: {"model": wire.JobOut}})
    async def submit(asked: wire.JobIn, response: Response) -> wire.JobOut:
        """Begin long work. One that is under way already is answered with 200."""
        if isinstance(asked, wire.ProjectIn):
            named, settings = {"face": asked.face}, {"preset": asked.preset, "steps": asked.steps}
        else:
            named = {"identity": asked.identity, "attributes": asked.attributes}
            settings = {"steps": asked.steps}
        found = {role: faces[name] for role, name in named.items()}
        job, new = jobs.submit(asked.verb, found, settings, keep=asked.keep)
        response.status_code = 202 if new else 200
        response.headers["Location"] = f"{PREFIX}/jobs/{job.id}"
        return _job_out(service, job)

    @api.get("/jobs", tags=["jobs"])
    async def list_jobs() -> list[wire.JobOut]:
        """All jobs that are kept, the oldest first."""
        return [_job_out(service, job) for job in jobs]

    @api.get("/jobs/{name}", tags=["jobs"])
    async def job(name: Named) -> wire.JobOut:
        """How far a job is."""
        return _job_out(service, jobs[name])

    @api.get(
        "/jobs/{name}/events", tags=["jobs"], response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def events(name: Named) -> StreamingResponse:
        """Server-sent events: `progress` with the job at each change, `end` with it at the end."""
        watched = jobs[name]

        async def records() -> AsyncIterator[tuple[str, str]]:
            async for _ in jobs.watch(watched):
                out = _job_out(service, watched)
                yield "end" if watched.is_over else "progress", out.model_dump_json()

        return StreamingResponse(stream(records()), media_type="text/event-stream")

    @api.get(
        "/jobs/{name}/picture", tags=["jobs"], response_class=Response, responses={200: PICTURE}
    )
    async def job_picture(name: Named, request: Request) -> Response:
        """What a job found so far."""
        named = jobs[name]
        done = await line.run(lambda: _job_picture(service, named).encode("png"), request)
        return _file(done.value, "png", named.verb, done)

    @api.post("/jobs/{name}/cancel", tags=["jobs"])
    async def cancel(name: Named) -> wire.JobOut:
        """End a job. What it found so far is kept, and it can be resumed."""
        return _job_out(service, jobs.cancel(name))

    @api.post("/jobs/{name}/resume", tags=["jobs"])
    async def resume(name: Named) -> wire.JobOut:
        """Let a cancelled or failed job go on, to the bits of an unbroken one."""
        return _job_out(service, jobs.resume(name))

    @api.delete("/jobs/{name}", status_code=204, tags=["jobs"])
    async def remove(name: Named) -> None:
        """End a job and delete all that is kept of it."""
        jobs.remove(name)

    @api.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await service.live.serve(socket)

    return api


def _capabilities(service: Service) -> wire.Capabilities:
    studio, drawer, limits = service.studio, service.drawer, service.limits
    able = {verb: drawer.able(verb) for verb in VERBS}
    return wire.Capabilities(
        version=mien.__version__,
        resolution=studio.resolution,
        verbs=able,
        expressions=list(drawer.expressions),
        parts=drawer.parts,
        styles=list(drawer.styles),
        controls=drawer.controls,
        domains=list(studio.domains) if able["translate"].able else [],
        portraits=portraits(),
        limits={
            "body_bytes": limits.body_bytes,
            "pixels": limits.pixels,
            "job_s": limits.job_s,
            "frame_bytes": limits.frame_bytes,
        },
    )


def _face_out(face: Face) -> wire.FaceOut:
    aligned = face.aligned
    return wire.FaceOut(
        id=face.id,
        picture=f"{PREFIX}/faces/{face.id}/picture",
        quad=None if aligned is None else aligned.quad.tolist(),
        flags=[] if aligned is None else list(aligned.flags),
        ready=face.code is not None,
        pastes=aligned is not None,
    )


def _job_out(service: Service, job: Job) -> wire.JobOut:
    left = None
    if job.state == "running" and job.step:
        left = round(job.seconds / job.step * max(0, job.steps - job.step), 1)
    shows = job.codes is not None or job.state == "done" or "face" in job.result
    return wire.JobOut(
        id=job.id,
        verb=job.verb,
        faces={role: face.id for role, face in job.faces.items()},
        state=job.state,
        before=service.jobs.place_of(job),
        step=job.step,
        steps=job.steps,
        loss=job.loss,
        seconds=round(job.seconds, 3),
        left=left,
        ended=job.ended,
        picture=f"{PREFIX}/jobs/{job.id}/picture" if shows else None,
        records=job.records,
        result=job.result,
        error=job.error,
    )


def _job_picture(service: Service, job: Job) -> Picture:
    if job.picture is not None:
        return job.picture
    face = job.faces.get("face")
    if job.shown is not None and not job.is_over:
        return Picture(job.shown, (job.verb,))
    if job.codes is not None and not job.is_over:
        return Picture(service.studio.render(job.codes[0]).array, (job.verb,))
    if face is not None and face.code is not None:
        return Picture(service.studio.render(face.code).array, face.how)
    raise Conflict("the job has found nothing yet", hint="Wait for its first record")


async def _picture_sent(request: Request) -> bytes:
    """The bytes of a picture, whose kind is told by them and not by what the header says."""
    if not request.headers.get("content-type", "").lower().startswith("image/"):
        raise WrongType("no picture was sent", hint="Send its bytes as Content-Type: image/jpeg")
    data = await request.body()
    if not data:
        raise InvalidRequest("the body is empty", hint="Send the picture's bytes")
    return data


def _common(asked: Any) -> dict[str, Any]:
    return {"face": asked.face, "kind": asked.kind, "paste": asked.paste}


def _file(data: bytes, kind: str, name: str, done: Done[Any] | None = None) -> Response:
    """A picture to be kept: of this type whatever its bytes look like, never opened as a page."""
    headers = {"Content-Disposition": f'attachment; filename="mien-{name}.{kind}"'}
    if done is not None:
        waited, took = 1e3 * done.waited, 1e3 * done.took
        headers["Server-Timing"] = f"wait;dur={waited:.1f}, draw;dur={took:.1f}"
    return Response(data, media_type=MEDIA[kind], headers=headers)
