"""A progress bar on a terminal, silence in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mien_export.to_bundle import Progress as Report


@contextlib.contextmanager
def announce(*, quiet: bool = False) -> Iterator[Report]:
    """Yield a function that shows which graph is being exported."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("reading", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
