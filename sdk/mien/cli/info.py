"""`mien info`"""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or zip, or demo.")] = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Say what a bundle holds: its source, its graphs, what goes in and comes out.

    Example: mien info demo
    """
    from rich.console import Console
    from rich.table import Column, Table

    from mien.bundles import bundle_path
    from mien_engines import Bundle

    opened = Bundle.open(bundle_path(bundle))
    spec = opened.spec
    if as_json:
        typer.echo(spec.model_dump_json())
        return
    console = Console()
    console.print(f"[bold]{spec.name}[/], family {spec.family}, {opened.folder}")
    console.print(f"from {spec.source.file} ({spec.source.format}), licence {spec.source.licence}")
    console.print(", ".join(f"{key} {value}" for key, value in spec.properties.items()))
    graph_column = Column("graph", no_wrap=True)
    table = Table(graph_column, "inputs", "outputs", "sha256", "error", "other forms", box=None)
    for name, graph in spec.graphs.items():
        sides = (
            "\n".join(f"{t.name} {t.dtype} {list(t.shape)}" for t in tensors)
            for tensors in (graph.inputs, graph.outputs)
        )
        table.add_row(
            name,
            *(side.replace("[", r"\[").replace("'", "") for side in sides),
            spec.files[graph.file].sha256[:12],
            f"{max(graph.errors.values()):.1e}" if graph.errors else "",
            "\n".join(
                f"{precision}, off by {max(form.errors.values()):.1e} of range"
                for precision, form in graph.forms.items()
            ),
        )
    console.print(table)
    console.print("error: the greatest difference from PyTorch at export, of each output's range")
