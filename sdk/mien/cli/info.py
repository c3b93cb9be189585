"""`mien info`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien_engines.spec import TensorSpec


def command(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or zip, or demo.")] = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Say what a bundle holds: its source, its graphs, what goes in and comes out.

    Example: mien info demo
    """
    from rich.console import Console

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
    for name, graph in spec.graphs.items():
        console.print()
        error = f", error {max(graph.errors.values()):.1e}" if graph.errors else ""
        console.print(f"[bold]{name}[/]  sha256 {spec.files[graph.file].sha256[:12]}{error}")
        for side, tensors in (("in ", graph.inputs), ("out", graph.outputs)):
            for tensor in tensors:
                console.print(f"  {side}  {_tensor(tensor)}", markup=False, soft_wrap=True)
        for precision, form in graph.forms.items():
            console.print(f"  {precision}, off by {max(form.errors.values()):.1e} of range")
    console.print()
    console.print("error: the greatest difference from PyTorch at export, of each output's range")


def _tensor(tensor: TensorSpec) -> str:
    """Name, type and shape, and the range and the order of colours where they are known."""
    shape = ", ".join(map(str, tensor.shape))
    known = [] if tensor.range is None else ["{:g} to {:g}".format(*tensor.range)]
    return ", ".join(
        [f"{tensor.name} {tensor.dtype} [{shape}]", *known, *filter(None, [tensor.colour])]
    )
