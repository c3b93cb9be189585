"""Films of a run: cut into pieces, drawn by whoever is free, joined."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mien.provenance import digest
from mien.scale.plan import Plan, Task
from mien.scale.store import Store, address_of
from mien.scale.verbs import verb_of
from mien.video import Converted, FrameEdit, convert
from mien.video.containers import container_of
from mien.video.gif import is_gif
from mien.video.pieces import Piece, cut, draw_piece, join_pieces
from mien.video.pyav import pyav


class Films:
    """What a worker does with films.

    made_of: what a result depends on, from the arguments of an item. edit_of: the edit of its
    frames, from the same.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        made_of: Callable[[Mapping[str, Any]], dict[str, Any]],
        edit_of: Callable[[Mapping[str, Any]], FrameEdit],
    ) -> None:
        self._plan, self._store, self._item = plan, store, verb_of(plan.verb).item
        self._made_of, self._edit_of = made_of, edit_of
        self._named = Path(f"film{plan.film_suffix}")

    def address(self, task: Task) -> str:
        """Return the address of a film: what pictures depend on, and how it is encoded."""
        plan = self._plan
        return address_of(
            {
                **self._made_of(task.item.arguments),
                "format": plan.film_suffix,
                "side": plan.side,
                "sound": plan.sound,
                "on_failure": plan.on_failure,
                "PyAV": pyav().__version__,
            }
        )

    def pieces(self, task: Task) -> tuple[Piece, ...]:
        """Return the pieces of a film; none where it is drawn as a whole: a GIF, or into one."""
        source = self._source(task)
        if is_gif(source) or container_of(self._named) is None:
            return ()
        return tuple(cut(source, self._plan.piece))

    def shoot(self, task: Task) -> tuple[int, int]:
        """Draw one piece, or a whole film that has none.

        Returns how many frames were drawn now, and how many of all were passed as they are.
        """
        plan, drawn = self._plan, 0

        def count(_: object) -> None:
            nonlocal drawn
            drawn += 1

        edit = self._edit_of(task.item.arguments)
        if not task.pieces:
            made: list[Converted] = []

            def whole(path: Path) -> None:
                made.append(
                    convert(
                        self._source(task), path, edit, side=plan.side, sound=plan.sound,
                        on_failure=plan.on_failure, mark=plan.mark, callback=count,
                    )
                )  # fmt: skip

            self._store.put(task.address, plan.film_suffix, whole)
            return drawn, len(made[0].failures)
        folder = self._store.parts(task.address)
        folder.mkdir(parents=True, exist_ok=True)
        segments = draw_piece(
            self._source(task), self._named, task.pieces[task.number], edit, folder,
            side=plan.side, on_failure=plan.on_failure, callback=count,
        )  # fmt: skip
        return drawn, sum(len(segment.failures) for segment in segments)

    def join(self, task: Task) -> None:
        """Join a film's pieces, and clear them away. One without pieces is whole already."""
        if not task.pieces:
            return
        plan, source = self._plan, self._source(task)
        folder = self._store.parts(task.address)
        self._store.put(
            task.address,
            plan.film_suffix,
            lambda path: join_pieces(
                source, self._named, path, task.pieces, self._edit_of(task.item.arguments), folder,
                named=digest(source), sound=plan.sound, mark=plan.mark,
            ),
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)

    def _source(self, task: Task) -> Path:
        return Path(task.item.arguments[self._item])
