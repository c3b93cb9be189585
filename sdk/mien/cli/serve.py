"""`mien serve`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import Backend, Detector, Json


def command(
    bundle: Annotated[
        list[str] | None,
        typer.Option("--bundle", help="A bundle's folder or zip; again for other families."),
    ] = None,
    host: Annotated[str, typer.Option(help="To listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8777,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MIEN_TOKEN", help="What requests must show; needed beyond this machine."
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A further name that the service goes by, as of a proxy."),
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option("--jobs", help="Where jobs are kept; the user's state folder.")
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait.")] = 8,
    job_seconds: Annotated[float, typer.Option(min=1, help="That a job may take.")] = 600.0,
    megapixels: Annotated[float, typer.Option(min=0.1, help="Of a photograph.")] = 24.0,
    megabytes: Annotated[float, typer.Option(min=0.1, help="Of a photograph's file.")] = 16.0,
    detector: Detector = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Open the studio in the browser, and its HTTP API.

    Example: mien serve

    Example: mien serve --host 0.0.0.0 --token $(openssl rand -hex 24)

    It is for this machine alone unless a host and a token are given. Ctrl-C ends it; jobs that
    were not done go on at the next start.
    """
    from mien.cli.options import answer
    from mien.serve import Limits, run
    from mien.serve.folder import default_folder
    from mien.studio import Studio

    limits = Limits(
        queue=queue,
        job_s=job_seconds,
        pixels=round(megapixels * 1e6),
        body_bytes=round(megabytes * 2**20),
    )
    with Studio(*(bundle or []), backend=backend, detector=detector) as studio:
        run(
            studio,
            folder=jobs or default_folder(),
            host=host,
            port=port,
            token=token,
            names=name or (),
            limits=limits,
            ready=lambda at: answer(
                {"address": at}, f"mien serve: open {at} (Ctrl-C ends it)", as_json=as_json
            ),
        )
