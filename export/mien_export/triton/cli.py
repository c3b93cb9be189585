"""`mien export-triton`: the entry point of group mien.commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle: its folder or zip.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The model repository; others' models stay.")
    ],
    graphs: Annotated[str, typer.Option(help="Those to serve, with commas; unasked, all.")] = "",
    backend: Annotated[str, typer.Option(help="ort, or trt with --plans.")] = "ort",
    plans: Annotated[
        Path | None, typer.Option(help="A folder of GRAPH.plan, of your own making.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="f32, or fp16 where a graph has that form.")
    ] = "f32",
    max_batch: Annotated[
        int, typer.Option(min=0, help="Samples that Triton may put into one call; 0: none.")
    ] = 8,
    delay_us: Annotated[
        int, typer.Option("--delay-us", min=0, help="How long a request may wait for others.")
    ] = 500,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; others are refused.")]
    = 256,
    instances: Annotated[int, typer.Option(min=1, help="Of each model, on each device.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    prefix: Annotated[
        str | None, typer.Option(help="Of the models' names; unasked, the bundle's name.")
    ] = None,
    films: Annotated[
        bool, typer.Option("--films/--no-films", help="Models that hold a style for a sequence.")
    ] = True,
    copy: Annotated[bool, typer.Option("--copy", help="Weights for each model, no links.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace these models.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:  # fmt: skip
    """Write a model repository of NVIDIA's Triton for a bundle: a model a graph, ensembles, films.

    Example: mien export-triton BUNDLE -o models --max-batch 16 --device gpu

    Example: mien export-triton BUNDLE -o models --backend trt --plans plans

    mien info NAME says where a bundle that comes with mien lies.
    """
    from mien_engines.bundle import Bundle
    from mien_engines.errors import InputError
    from mien_export.triton.models import Serving
    from mien_export.triton.repository import export_triton

    if device not in ("auto", "cpu", "gpu"):
        raise InputError(f"there is no device {device!r}", hint="Name auto, cpu or gpu")
    chosen: dict[str, Any] = {"backend": backend, "precision": precision, "device": device}
    written = export_triton(
        Bundle.open(bundle),
        output,
        graphs=graphs.split(",") if graphs else None,
        backend=chosen["backend"],
        plans=plans,
        precision=chosen["precision"],
        serving=Serving(max_batch, delay_us, queue, instances, chosen["device"]),
        prefix=prefix,
        films=films,
        copy=copy,
        overwrite=overwrite,
    )
    record = {
        "repository": str(written.folder),
        "models": [
            {"name": m.name, "kind": _kind(m.config), "batches": m.batches,
             "file": written.files.get(m.graph or "")}
            for m in written.models
        ],
        "left_out": written.left_out,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(record))
        return
    for model in written.models:
        file = written.files.get(model.graph or "", "")
        batches = "batched" if model.batches else "one call a request"
        typer.echo(
            f"  {model.name}: {' '.join(filter(None, [_kind(model.config), file]))}, {batches}"
        )
    for graph in written.left_out:
        typer.echo(f"  without {graph}: no plan")
    typer.echo(f"{output}: {len(written.models)} models. tritonserver --model-repository={output}")


def _kind(config: Any) -> str:
    if "sequence_batching" in config:
        return "film"
    return "ensemble" if "ensemble_scheduling" in config else str(config["backend"])
