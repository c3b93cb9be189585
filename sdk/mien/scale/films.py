"""Films of a run: cut into pieces, drawn by whoever is free, joined."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mien.provenance import digest
from mien.scale.store import address_of
from mien.video import Converted, convert
from mien.video.containers import container_of
from mien.video.gif import is_gif
from mien.video.pieces import Piece, cut, draw_piece, join_pieces
from mien.video.pyav import pyav

if TYPE_CHECKING:
    from mien.scale.plan import Task
    from mien.scale.worker import Worker


def film_address(worker: Worker, task: Task) -> str:
    """Return the address of a film: what pictures depend on, and how it is encoded."""
    plan = worker.plan
    return address_of(
        {
            **worker.made_of(task.item.arguments),
            "format": plan.film_suffix,
            "side": plan.side,
            "sound": plan.sound,
            "on_failure": plan.on_failure,
            "PyAV": pyav().__version__,
        }
    )


def pieces_of(worker: Worker, task: Task) -> tuple[Piece, ...]:
    """Return the pieces of a film; none where it is drawn as a whole: a GIF, or into one."""
    source = _source(worker, task)
    if is_gif(source) or container_of(_named(worker)) is None:
        return ()
    return tuple(cut(source, worker.plan.piece))


def shoot(worker: Worker, task: Task) -> tuple[int, int]:
    """Draw one piece, or a whole film that has none.

    Returns how many frames were drawn now, and how many of all were passed as they are.
    """
    plan, drawn = worker.plan, 0

    def count(_: object) -> None:
        nonlocal drawn
        drawn += 1

    edit = worker.edit_of(task.item.arguments)
    if not task.pieces:
        made: list[Converted] = []

        def whole(path: Path) -> None:
            made.append(
                convert(
                    _source(worker, task), path, edit, side=plan.side, sound=plan.sound,
                    on_failure=plan.on_failure, mark=plan.mark, callback=count,
                )
            )  # fmt: skip

        worker.store.put(task.address, plan.film_suffix, whole)
        return drawn, len(made[0].failures)
    folder = worker.store.parts(task.address)
    folder.mkdir(parents=True, exist_ok=True)
    segments = draw_piece(
        _source(worker, task), _named(worker), task.pieces[task.number], edit, folder,
        side=plan.side, on_failure=plan.on_failure, callback=count,
    )  # fmt: skip
    return drawn, sum(len(segment.failures) for segment in segments)


def join_film(worker: Worker, task: Task) -> None:
    """Join a film's pieces, and clear them away. A film without pieces is whole already."""
    if not task.pieces:
        return
    plan, source = worker.plan, _source(worker, task)
    folder = worker.store.parts(task.address)
    worker.store.put(
        task.address,
        plan.film_suffix,
        lambda path: join_pieces(
            source, _named(worker), path, task.pieces, worker.edit_of(task.item.arguments), folder,
            named=digest(source), sound=plan.sound, mark=plan.mark,
        ),
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)


def _source(worker: Worker, task: Task) -> Path:
    return Path(task.item.arguments[worker.verb.item])


def _named(worker: Worker) -> Path:
    return Path(f"film{worker.plan.film_suffix}")
