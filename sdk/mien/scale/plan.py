"""What a run is told to do, as its workers get it, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mien.bundles import bundle_path
from mien.errors import ArchMismatch, InputError
from mien.images import SUFFIXES
from mien.networks import GENERATORS
from mien.scale.items import Item
from mien.scale.verbs import GENERATOR, Verb, check_needed, check_options, named_by, verb_of
from mien.video.containers import SUFFIXES as FILM_SUFFIXES
from mien.video.pieces import Piece
from mien_engines import Bundle

Status = Literal["done", "kept", "failed", "hopeless"]


@dataclass(frozen=True)
class Plan:
    """What all workers of a run do. It travels to other machines, so it is plain.

    verb, options: of the Studio. output: the run's folder. suffix: of pictures. film_suffix: of
    films. bundles, backend, detector, threads: of the Studio. aligned: faces are crops already.
    face: which of several. mark, sound, side, on_failure: as in `mien.video.convert`. piece: frames
    of a film that one task draws.
    """

    verb: str
    options: Mapping[str, Any]
    output: str
    suffix: str
    film_suffix: str = ".mp4"
    bundles: tuple[str, ...] = ()
    backend: str = "ort"
    detector: str | None = None
    threads: int = 1
    aligned: bool = False
    face: str | int = "only"
    mark: bool = True
    sound: bool = True
    side: int | None = None
    on_failure: Literal["stop", "pass"] = "stop"
    piece: int = 480


@dataclass(frozen=True)
class Task:
    """One thing to do, small enough to be done again where a worker dies.

    kind: "draw" an item; "survey" a film, "shoot" a piece of it, "join" its pieces.
    pieces: of the film. number: of the piece. address: of the film.
    """

    kind: Literal["draw", "survey", "shoot", "join"]
    item: Item
    pieces: tuple[Piece, ...] = ()
    number: int = 0
    address: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a task.

    status: "done"; "kept": it was there; "failed": this item cannot be done; "hopeless": none can.
    seconds: that the task took. opening: that the worker's Studio took, before its first task.
    frames: of a film, drawn now. passed: of them and of those before, left as they were.
    """

    task: Task
    status: Status
    worker: str
    address: str = ""
    suffix: str = ""
    seconds: float = 0.0
    opening: float = 0.0
    frames: int = 0
    passed: int = 0
    pieces: tuple[Piece, ...] = field(default=(), repr=False)
    error: str = ""
    message: str = ""


def killed(task: Task, times: int) -> Result:
    """Return what is told of a task that its process did not survive."""
    return Result(
        task, "failed", "killed", error="WorkerDied", address=task.address,
        message=f"the process that worked on it was killed {times} times. It may lack memory",
    )  # fmt: skip


def check_plan(plan: Plan, items: Sequence[Item]) -> None:
    """Raise, before any work, for what no worker could do.

    Raises InputError: an option, a suffix, a file or a rule that there is not, an argument that is
    not given. ArchMismatch: a bundle that the verb would leave out without a word.
    """
    verb = verb_of(plan.verb)
    kinds = {
        (item.film, frozenset(plan.options.keys() | item.arguments.keys() - {verb.item}))
        for item in items
    }
    for film, given in kinds:
        check_options(plan.verb, given, film=film)
        check_needed(plan.verb, given, film=film)
    named_by(verb, plan.options)  # files that are not there
    _check_suffixes(verb, plan)
    _check_bundles(verb, plan.bundles)
    if plan.on_failure not in ("stop", "pass"):
        raise InputError(
            f"on_failure is {plan.on_failure!r}, expected stop or pass",
            hint="A picture cannot be held from one piece of a film to the next",
        )
    if plan.piece < 1:
        raise InputError(f"a piece of {plan.piece} frames, expected 1 or more")


def absolute(verb: Verb, name: str, value: Any) -> Any:
    """Return an option whose file is found from any folder."""
    if isinstance(value, list | tuple):
        return [absolute(verb, name, one) for one in value]
    if name in verb.kinds and isinstance(value, str | Path) and Path(value).exists():
        return str(Path(value).resolve())
    return value


def absolute_bundle(name: str | Path) -> str:
    """Return a bundle's path, or its name where it comes with mien."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)


def _check_suffixes(verb: Verb, plan: Plan) -> None:
    known = (verb.suffix,) if verb.suffix == ".npy" else tuple(SUFFIXES)
    if plan.suffix not in known:
        raise InputError(
            f"results are not written as {plan.suffix}", hint=f"Name {', '.join(known)}"
        )
    if plan.film_suffix not in FILM_SUFFIXES:
        raise InputError(
            f"films are not written as {plan.film_suffix}", hint=f"Name {', '.join(FILM_SUFFIXES)}"
        )


def _check_bundles(verb: Verb, bundles: Sequence[str]) -> None:
    families = {*verb.families, *(GENERATORS if GENERATOR in verb.families else ())}
    for name in bundles:
        bundle = Bundle.open(bundle_path(name), verify=False)
        if bundle.spec.family not in families:
            raise ArchMismatch(
                f"bundle {bundle.name} is of family {bundle.spec.family}, and {verb.method} needs "
                f"one of family {' or '.join(sorted(families - {GENERATOR}))}",
                hint="Name another, or none for mien's own",
            )
