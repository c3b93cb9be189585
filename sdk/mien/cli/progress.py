"""A progress bar for long work on a terminal; nothing in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mien.edits.loop import Step

if TYPE_CHECKING:
    from mien.video import Progress as Frames


@contextlib.contextmanager
def count_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that shows how many are done, and of how many."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def step_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[Step], None]]:
    """Yield a callback that shows a run's steps and its loss."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None, loss=float("nan"))

        def show(step: Step) -> None:
            bar.update(task, completed=step.step, total=step.steps, loss=float(step.loss.mean()))

        yield show


@contextlib.contextmanager
def frame_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[Frames], None]]:
    """Yield a callback that shows the frames of a video, how fast they come, and the time left."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} fps"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None, rate=0.0, left="")

        def show(done: Frames) -> None:
            seconds = done.seconds_left
            left = "" if seconds is None else f"{int(seconds // 60)}:{int(seconds % 60):02d} left"
            bar.update(
                task, completed=done.frames, total=done.of, rate=done.frames_per_second, left=left
            )

        yield show
