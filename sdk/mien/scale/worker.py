"""One worker: a Studio, opened once, and the tasks that it is given."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import mien
from mien.bundles import detector_path
from mien.errors import InputError, MienError
from mien.images import Picture
from mien.provenance import digest
from mien.scale.films import Films
from mien.scale.plan import Plan, Result, Status, Task
from mien.scale.store import Store, address_of
from mien.scale.verbs import named_by, opened, save_result, verb_of
from mien.studio import Studio
from mien.video import FrameEdit
from mien_engines.bundle import MANIFEST


class Worker:
    """Does tasks. Errors of an item are a result, not an exception.

    backend: of one that draws nothing, and need not have the plan's device.
    """

    def __init__(self, plan: Plan, backend: str | None = None) -> None:
        self.plan = plan
        self._backend = backend or plan.backend
        self.verb = verb_of(plan.verb)
        self.store = Store(Path(plan.output))
        self._films = Films(plan, self.store, self.made_of, self.edit_of)
        self._opening = 0.0
        self._known: dict[str, Any] = {}
        self._edit: tuple[dict[str, Any], FrameEdit] | None = None

    def __call__(self, task: Task) -> Result:
        try:
            self._open()
        except MienError as error:
            return self._failed(task, "hopeless", error)
        began = time.perf_counter()
        try:
            found = {
                "draw": self._draw, "survey": self._survey, "shoot": self._shoot, "join": self._join
            }[task.kind](task)  # fmt: skip
        except Exception as error:  # a MienError, or a fault of ours: one item's, not the run's
            return self._failed(task, "failed", error, time.perf_counter() - began)
        seconds, opening = time.perf_counter() - began, self._told_opening()
        return Result(task, worker=me(), seconds=seconds, opening=opening, **found)

    @cached_property
    def studio(self) -> Studio:
        plan = self.plan
        return Studio(
            *plan.bundles, backend=self._backend, detector=plan.detector, threads=plan.threads
        )

    @cached_property
    def networks(self) -> dict[str, str]:
        """SHA-256 of the bundles that results depend on, by family."""
        return {family: self.studio.fingerprint(family) for family in self.verb.families}

    @cached_property
    def detector(self) -> str | None:
        """What finds faces, by its bytes; None where nothing has to."""
        if self.plan.aligned:
            return None
        try:
            path = detector_path(self.plan.detector)
        except InputError:  # an item that needs one says so
            return None
        return digest(path / MANIFEST if path.is_dir() else path)

    def edit_of(self, given: Mapping[str, Any]) -> FrameEdit:
        """The edit of an item's frames. The latest is kept, since most items share it: a style,
        say, is encoded once."""
        assert self.verb.film is not None
        options = {**self.plan.options, **given}
        options.pop(self.verb.item, None)
        if self._edit is None or self._edit[0] != options:
            self._edit = options, self.verb.film(self.studio, options)
        return self._edit[1]

    def close(self) -> None:
        if "studio" in self.__dict__:
            self.studio.close()

    def made_of(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What a result depends on."""
        plan = self.plan
        return {
            "mien": mien.__version__,
            "verb": plan.verb,
            "arguments": named_by(self.verb, {**plan.options, **arguments}),
            "networks": self.networks,
            "backend": plan.backend,
            "detector": self.detector,
            "aligned": plan.aligned,
            "face": plan.face,
            "mark": plan.mark,
        }

    def _open(self) -> None:
        if "networks" not in self.__dict__:
            began = time.perf_counter()
            _ = self.networks
            self._opening = time.perf_counter() - began

    def _told_opening(self) -> float:
        opening, self._opening = self._opening, 0.0
        return opening

    def _draw(self, task: Task) -> dict[str, Any]:
        plan = self.plan
        address = address_of(self.made_of(task.item.arguments))
        found: dict[str, Any] = {"address": address, "suffix": plan.suffix}
        if self.store.place(address, plan.suffix).exists():
            return self._named(task, {**found, "status": "kept"})
        result = self._drawn(task.item.arguments)
        self.store.put(address, plan.suffix, lambda path: save_result(result, path, mark=plan.mark))
        return self._named(task, {**found, "status": "done"})

    def _drawn(self, given: Mapping[str, Any]) -> Any:
        if self.verb.frames:
            pixels, edit = self._opened(self.verb.item, given[self.verb.item]), self.edit_of(given)
            return Picture(edit.draw(pixels), edit.edits, (digest(pixels), *edit.sources))
        arguments = {name: self._option(name) for name in self.plan.options}
        arguments |= {name: self._opened(name, value) for name, value in given.items()}
        return getattr(self.studio, self.verb.method)(**arguments)

    def _option(self, name: str) -> Any:
        """An option, opened once: it is every item's."""
        if name not in self._known:
            self._known[name] = self._opened(name, self.plan.options[name])
        return self._known[name]

    def _opened(self, name: str, value: Any) -> Any:
        plan = self.plan
        return opened(self.verb, name, value, self.studio, aligned=plan.aligned, face=plan.face)

    def _survey(self, task: Task) -> dict[str, Any]:
        address = self._films.address(task)
        found = {"address": address, "suffix": self.plan.film_suffix}
        if self.store.place(address, self.plan.film_suffix).exists():
            return self._named(task, {**found, "status": "kept"})
        return {**found, "status": "done", "pieces": self._films.pieces(task)}

    def _shoot(self, task: Task) -> dict[str, Any]:
        frames, passed = self._films.shoot(task)
        return {"status": "done", "address": task.address, "frames": frames, "passed": passed}

    def _join(self, task: Task) -> dict[str, Any]:
        found = {"address": task.address, "suffix": self.plan.film_suffix}
        if task.pieces and self.store.place(task.address, self.plan.film_suffix).exists():
            return self._named(task, {**found, "status": "kept"})  # one alike was joined before
        self._films.join(task)
        return self._named(task, {**found, "status": "done"})

    def _named(self, task: Task, found: dict[str, Any]) -> dict[str, Any]:
        """What is told of a result that is there, once it has its item's name too."""
        self.store.name(found["address"], found["suffix"], task.item.name)
        return found

    def _failed(self, task: Task, status: Status, error: Exception, seconds: float = 0.0) -> Result:
        code = getattr(error, "code", type(error).__name__)
        said = " ".join(str(error).split()) or code
        return Result(
            task, status, me(), seconds=seconds, opening=self._told_opening(), error=code,
            message=said, address=task.address,
        )  # fmt: skip


def me() -> str:
    """The name of this process among the workers."""
    return f"{platform.node()}:{os.getpid()}"
