"""`mien build`"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import Json

if TYPE_CHECKING:
    from mien_engines import BuildReport


def command(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or zip, or demo.")],
    backend: Annotated[
        str, typer.Option("--backend", help="trt (TensorRT) or rtx (TensorRT-RTX).")
    ] = "trt",
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, fp16 or bf16; sums stay fp32 in all of them.")
    ] = "fp32",
    graph: Annotated[
        list[str] | None,
        typer.Option("--graph", help="Build only this one. Repeat it."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", help="Least, usual and greatest size: N=1:1:8, H=64:512:1024."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="An operator, or a node by name, that stays fp32. Repeat it."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Build also what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Build a bundle's plans, hold them against ONNX Runtime, and keep those that agree.

    The status is 1 where a plan failed or was refused. Without a GPU, TensorRT-RTX builds plans
    that are not used; TensorRT needs the GPU that they will run on.

    Example: mien build demo --backend rtx --precision fp16 --graph render
    """
    from mien.bundles import bundle_path
    from mien_engines import build
    from mien_engines.sizes import parse_sizes

    with _bar(quiet=as_json) as progress:
        report = build(
            bundle_path(bundle),
            backend,
            precision,
            graph,
            sizes=parse_sizes(size or []),
            keep=keep or [],
            again=again,
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(report.record()))
    else:
        _print(report)
    raise typer.Exit(1 if report.failed else 0)


def _print(report: BuildReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"{report.library}, {report.gpu or 'no GPU: plans are built, not checked'}")
    table = Table("graph", "precision", "state", "layers", "seconds", "MB", "error", box=None)
    for plan in report.plans:
        error = "" if plan.error is None else f"{plan.error:.1e} of {plan.tolerance:.1e}"
        table.add_row(
            plan.graph,
            "fp32" if plan.precision == "f32" else plan.precision,
            plan.state,
            "" if plan.layers is None else str(plan.layers),
            "" if plan.seconds is None else f"{plan.seconds:.1f}",
            "" if plan.nbytes is None else f"{plan.nbytes / 1e6:.1f}",
            error,
        )
    console.print(table)
    for plan in report.plans:
        if plan.detail and plan.state in ("failed", "refused", "left out"):
            console.print(f"{plan.graph}: {plan.state}: {escape(plan.detail)}")


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that shows a builder's phases, which come from threads of its own."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("building", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
