"""Which verbs run over many items, what each is given, and what it leaves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.bundles import built_in_styles, style_path
from mien.edits.directions import load_direction
from mien.edits.latents import load_code
from mien.errors import InputError
from mien.faces.align import AlignedFace
from mien.images import Picture, load
from mien.provenance import digest
from mien.studio import Studio

if TYPE_CHECKING:
    from mien.video import FrameEdit

# What an argument is where it is a file. picture: as it is; photo: the face in it, cut out; code,
# direction: arrays; style: a picture, or the name of one of mien's; named: a file, or a name.
Kind = Literal["picture", "photo", "code", "direction", "style", "named"]

GENERATOR = "generator"  # whichever family draws W+ codes
# Arguments that cannot be the same for many items, or that make a result depend on the clock.
OF_ONE_CALL = frozenset({"self", "callback", "stop", "save", "resume", "trace", "seconds", "masks"})


@dataclass(frozen=True)
class Verb:
    """A method of the Studio.

    item: the argument that each file of a folder becomes. kinds: of the arguments that are files.
    families: whose networks draw; faces are cut out at the size of the first. suffix: of results.
    film: (studio, options) -> the edit of a frame; None where the verb has none. of_film: the
        method of the Studio that takes those options. frames: a picture is drawn as a frame is, so
        that what the options name, such as a style, may be encoded once for all items.
    """

    method: str
    item: str
    kinds: Mapping[str, Kind]
    families: tuple[str, ...] = (GENERATOR,)
    suffix: str = ".png"
    film: Callable[[Studio, Mapping[str, Any]], FrameEdit] | None = None
    of_film: str = ""
    frames: bool = False


def _translated(studio: Studio, options: Mapping[str, Any]) -> FrameEdit:
    given = dict(options)
    if (photo := given.get("reference")) is not None:
        given["reference"] = studio.align_for_translation(photo, which="largest")
    return studio.translate_edit(studio.face_style(**given))


VERBS: dict[str, Verb] = {
    "align": Verb("align", "photo", {"photo": "picture", "landmarks": "named"}),
    "project": Verb("project", "face", {"face": "photo", "start": "code"}, suffix=".npy"),
    "invert": Verb("invert", "face", {"face": "photo"}, suffix=".npy"),
    "render": Verb("render", "code", {"code": "code"}),
    "mix": Verb("mix", "content", {"content": "code", "style": "code"}),
    "move": Verb("move", "code", {"code": "code", "direction": "direction"}),
    "express": Verb(
        "express", "code", {"code": "code", "expression": "named"},
        film=lambda studio, options: studio.express_edit(**options), of_film="express_edit",
    ),
    "edit": Verb(
        "edit", "face", {"face": "code", "reference": "code", "catalogue": "named"}
    ),
    "swap": Verb("swap", "attributes", {"attributes": "photo", "identity": "photo"}),
    "merge": Verb("merge", "content", {"content": "photo", "pattern": "photo"}, ("vaegan",)),
    "translate": Verb(
        "translate", "face", {"face": "photo", "reference": "photo"}, ("starganv2",),
        film=_translated, of_film="face_style",
    ),
    "lookalikes": Verb("lookalikes", "face", {"face": "photo"}, ("lookalike", "arcface")),
    "stylize": Verb(
        "stylize", "content", {"content": "picture", "style": "style"}, ("adain",),
        film=lambda studio, options: studio.style_edit(**options), of_film="style_edit",
        frames=True,
    ),
    "gatys": Verb("gatys", "content", {"content": "picture", "style": "style"}, ("vgg",)),
}  # fmt: skip


def verb_of(name: str) -> Verb:
    """Return a verb by its name. Raises InputError, which lists them."""
    if name not in VERBS:
        raise InputError(
            f"there is no verb {name!r} over many items", hint=f"There are: {', '.join(VERBS)}"
        )
    return VERBS[name]


def check_options(name: str, options: Iterable[str], *, film: bool = False) -> None:
    """Raise InputError for an option that the verb does not have, before anything is opened."""
    known = set(_parameters(verb_of(name), film=film))
    if unknown := sorted(set(options) - known):
        raise InputError(
            f"{name} of {'films' if film else 'many items'} has no option {unknown[0]!r}",
            hint=f"It has: {', '.join(sorted(known))}",
        )


def check_needed(name: str, options: Iterable[str], *, film: bool = False) -> None:
    """Raise InputError for an argument that the verb cannot do without, before work on any item."""
    verb = verb_of(name)
    given = {*options, *(() if film else (verb.item,))}
    parameters = _parameters(verb, film=film).values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    if missing := sorted(needed - given):
        raise InputError(
            f"{name} of {'films' if film else 'many items'} needs {missing[0]}",
            hint=f"Type --set {missing[0]}=..., or give each item its own in a manifest",
        )


def _parameters(verb: Verb, *, film: bool) -> dict[str, inspect.Parameter]:
    method = getattr(Studio, verb.of_film if film else verb.method)
    found = inspect.signature(method).parameters
    return {name: one for name, one in found.items() if name not in OF_ONE_CALL}


def named_by(verb: Verb, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by what they are: a file by the SHA-256 of its bytes.

    Raises DecodeError or InputError where a file is not there.
    """
    return {name: _name(verb.kinds.get(name), value) for name, value in sorted(arguments.items())}


def opened(verb: Verb, name: str, value: Any, studio: Studio, *, aligned: bool, face: Any) -> Any:
    """Return an argument as the Studio takes it: files are read, faces cut out."""
    kind = verb.kinds.get(name)
    if kind is None or not isinstance(value, str | Path):
        return value
    if kind == "picture":
        return load(value)
    if kind == "photo":
        if aligned:
            return load(value)
        size = studio.resolution if verb.families[0] == GENERATOR else None
        size = size or studio.face_size(verb.families[0])
        return studio.align(value, which=face, size=size)
    if kind == "code":
        return load_code(Path(value))
    return load_direction(value) if kind == "direction" else value


def save_result(result: Any, path: Path, *, mark: bool) -> None:
    """Write what a verb returned: a picture, or an array as .npy."""
    if path.suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, np.asarray(result, np.float32), allow_pickle=False)
        return
    picture_of(result).save(path, mark=mark)


def picture_of(result: Any) -> Picture:
    """Return the picture that a verb's result is, has, or can be laid out as."""
    if isinstance(result, Picture):
        return result
    if isinstance(result, AlignedFace):
        return Picture(result.image, ("align",))
    picture = getattr(result, "picture", None)
    if isinstance(picture, Picture):
        return picture
    return result.sheet()  # type: ignore[no-any-return]


def _name(kind: Kind | None, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_name(kind, one) for one in value]
    if kind is None or not isinstance(value, str | Path):
        return value
    if kind == "style" and value in built_in_styles():
        return digest(style_path(value))
    if kind == "named" and not Path(value).exists():
        return value
    if not Path(value).is_file():
        raise InputError(f"there is no file {value}", hint="Check the path")
    return digest(value)
