"""`mien doctor`"""

from __future__ import annotations

import json
from itertools import groupby
from typing import Annotated

import typer

from mien.cli.options import Bundle, Json


def command(
    bundle: Bundle = "demo",
    measure: Annotated[
        bool, typer.Option(help="Also find out which backend is the fastest here.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what is installed, which backends open, why the others do not, and what to type.

    Example: mien doctor
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from mien.doctor import checkup

    found = checkup(bundle, measure=measure)
    if as_json:
        typer.echo(json.dumps(found.record()))
        raise typer.Exit(1 if found.problems else 0)
    console = Console(highlight=False)
    console.print(f"Python {found.python} on {found.system}")
    console.print(f"{found.cpu}, {found.cores} cores; cache {found.cache}")
    console.print(f"compiled kernels: {escape(found.kernels)}")
    console.print(f"TensorRT: {escape(found.tensorrt)}")
    installed = [f"{name} {version}" for name, version in found.packages.items() if version]
    console.print("installed: " + ", ".join(installed))
    missing = [name for name, version in found.packages.items() if not version]
    console.print("not installed: " + (", ".join(missing) or "nothing"))
    table = Table("backend", "precision", "state", box=None)
    # Those that are missing for the same reason share a row.
    for reason, states in groupby(found.backends, key=lambda state: state.reason):
        if reason is not None:
            table.add_row(", ".join(state.name for state in states), "", escape(reason))
            continue
        for state in states:
            text = f"[green]opens[/] {escape(state.version or '')}"
            table.add_row(state.name, state.precision, text)
    console.print(table)
    for choice in found.choices:
        speed = f", {1e3 * choice['seconds']:.1f} ms a call" if choice["seconds"] else ""
        console.print(f"{choice['graph']}: [bold]{choice['backend']}[/]{speed}")
        for remark in choice["remarks"]:
            console.print(f"    {escape(remark)}")
        for name, reason in choice["refused"].items():
            console.print(f"    not {name}: {escape(reason)}")
    for problem in found.problems:
        console.print(f"[red]problem[/] {escape(problem)}")
    if found.problems:
        raise typer.Exit(1)
    console.print("All is well. Try: mien demo")
