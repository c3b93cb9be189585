"""`mien bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.options import Json, answer


def command(
    bundle: Annotated[
        str | None, typer.Argument(help="A bundle's folder or zip, or the name of one of mien's.")
    ] = None,
    graph: Annotated[
        list[str] | None,
        typer.Option("--graph", help="A graph of it; unasked, those that run often. Repeat it."),
    ] = None,
    verb: Annotated[
        list[str] | None,
        typer.Option("--verb", help="A whole verb: project, stylize, film, live ... Repeat it."),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Unasked, all that open here. Repeat it."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            help="torch, torch-channels-last, torch-bf16, torch-compile (mien[export], and "
            "--checkpoint), or an earlier report: FILE.json. Repeat it.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="What the bundle was exported from.")
    ] = None,
    vgg: Annotated[
        Path | None, typer.Option(help="What the export took beside it: VGG-16 for LPIPS.")
    ] = None,
    lpips: Annotated[Path | None, typer.Option(help="Likewise, the LPIPS heads.")] = None,
    encoder: Annotated[Path | None, typer.Option(help="Likewise, the encoder into W+.")] = None,
    arcface: Annotated[Path | None, typer.Option(help="Likewise, the recogniser.")] = None,
    scenario: Annotated[
        str, typer.Option(help="single-stream, multi-stream, offline or server.")
    ] = "single-stream",
    batch: Annotated[int, typer.Option(help="Samples a call.")] = 1,
    streams: Annotated[int, typer.Option(help="Callers of multi-stream, workers of server.")] = 2,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second of server; unasked, those of FILE.json, or half of what the "
            "slowest can."
        ),
    ] = None,
    calls: Annotated[
        int | None, typer.Option(help="Of each backend; unasked, as many as fit into --seconds.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each backend, and of a live run.")] = 5.0,
    threads: Annotated[int | None, typer.Option(help="Unasked, one a physical core.")] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Empty the processor's caches before each call.")
    ] = False,
    starts: Annotated[
        int, typer.Option(help="Fresh processes, with an empty cache and with a full one.")
    ] = 1,
    roofline: Annotated[
        bool, typer.Option(help="Measure what this machine can do at most, too.")
    ] = True,
    side: Annotated[
        int, typer.Option(help="Of the pictures of stylize, film and live, in px.")
    ] = 256,
    fps: Annotated[float, typer.Option(help="Of the camera of live.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of the server's arrivals.")] = 0,
    allow: Annotated[
        float, typer.Option(help="So much slower than FILE.json is no regression (0.05 is 5 %).")
    ] = 0.05,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The report as JSON: FILE.json.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="The report as one page with plots.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure latency with its accuracy, backends side by side in one process.

    Example: mien bench demo --graph render -o render.json --html render.html

    Example: mien bench --verb stylize --scenario server --rate 10 --seconds 30

    Example: mien bench demo --graph render --against render.json

    The status is 1 where something is slower than in the earlier report, is not measured any more
    or no longer passes its gate, where a backend, graph or verb failed, and where one has nothing
    that was measured.
    """
    from rich.console import Console

    from mien.bench.html import save_html
    from mien.bench.run import measure
    from mien.bench.settings import Plan
    from mien.errors import InputError

    earlier = [name for name in against or [] if name.endswith(".json")]
    if len(earlier) > 1:
        raise InputError(f"{len(earlier)} earlier reports were named", hint="Name one")
    files = {"vgg": vgg, "lpips": lpips, "encoder": encoder, "arcface": arcface}
    plan = Plan(
        bundle=bundle,
        graphs=tuple(graph or ()),
        verbs=tuple(verb or ()),
        backends=tuple(backend or ()),
        against=tuple(name for name in against or [] if not name.endswith(".json")),
        baseline=Path(earlier[0]) if earlier else None,
        allowed=allow,
        checkpoint=checkpoint,
        extras={name: file for name, file in files.items() if file is not None},
        scenario=scenario,  # type: ignore[arg-type]
        batch=batch,
        streams=streams,
        rate=rate,
        calls=calls,
        seconds=seconds,
        threads=threads,
        seed=seed,
        cold=cold,
        starts=starts,
        side=side,
        frames_per_second=fps,
        roofline=roofline,
    )
    console = Console(stderr=True)
    with console.status("opening") as status:
        report = measure(plan, progress=lambda what: status.update(what))
    written = [report.save(output)] if output is not None else []
    written += [save_html(report, html)] if html is not None else []
    if as_json:
        answer(_record(report), "", as_json=True)
    else:
        from mien.cli.bench_table import show

        show(report)
        for path in written:
            typer.echo(str(path))
    if report.failed:
        raise typer.Exit(1)


def _record(report: Any) -> dict[str, Any]:
    record: dict[str, Any] = report.model_dump(mode="json")
    return record
