"""Verbs as works: pictures to begin with, one call of the verb, and how two results differ."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.bench.failing import left_out
from mien.bench.films import ROOM, Reel, film_accuracy
from mien.bench.graphs import Contestant
from mien.bench.report import FILMS, LIVE, Accuracy, Failure, Refusal, Stage
from mien.bundles import BUILT_IN, bundle_path
from mien.edits.gatys_settings import GatysSettings
from mien.edits.swap import SwapSettings
from mien.errors import ArchMismatch, InputError, MienError
from mien.images import load
from mien.networks import GENERATORS
from mien.studio import Studio
from mien.video import FrameEdit
from mien.video.pyav import pyav
from mien_engines import Bundle
from mien_engines.backends import REFERENCE, get
from mien_engines.parity import distance, excess

U8 = NDArray[np.uint8]
Call = Callable[[], Any]

PORTRAIT, STYLE, EXPRESSION = "portraits", "mosaic", "happy"
A_FEW = GatysSettings(size=128, steps=(10,))
A_FEW_STEPS = SwapSettings(steps=10)


@dataclass(frozen=True)
class Verb:
    """families: of bundles that it uses. prepare: (studio, side in px) -> one call of it; a film's
        has to be entered.

    networks: whether a call runs any; else backends are alike, and the reference stands for all.
    """

    families: tuple[str, ...]
    prepare: Callable[[Studio, int], Call]
    networks: bool = True


def _codes(studio: Studio) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return studio.sample(1), studio.sample(2)


def _render(studio: Studio, side: int) -> Call:
    code, _ = _codes(studio)
    return lambda: studio.render(code).array


def _mix(studio: Studio, side: int) -> Call:
    a, b = _codes(studio)
    return lambda: studio.mix(a, b).array


def _project(studio: Studio, side: int) -> Call:
    face = studio.render(studio.sample(3)).array
    return lambda: studio.project(face, "fast")


def _swap(studio: Studio, side: int) -> Call:
    a, b = (studio.render(studio.sample(seed)).array for seed in (1, 2))
    start = studio.sample(2)
    return lambda: studio.swap(identity=a, attributes=b, settings=A_FEW_STEPS, start=start)


def _edit(studio: Studio, side: int) -> Call:
    a, b = _codes(studio)
    return lambda: studio.edit(a, b, part="eyes").picture.array


def _express(studio: Studio, side: int) -> Call:
    code, _ = _codes(studio)
    return lambda: studio.express(code, EXPRESSION).array


def _animate(studio: Studio, side: int) -> Call:
    """From none of an expression to all of it, and back."""
    code, _ = _codes(studio)
    return lambda: studio.animate(code, EXPRESSION).frames


def _move(studio: Studio, side: int) -> Call:
    code, other = _codes(studio)
    direction = other - code
    return lambda: studio.move(code, direction, 0.5).array


def _invert(studio: Studio, side: int) -> Call:
    face = studio.render(studio.sample(3)).array
    return lambda: studio.invert(face)


def _align(studio: Studio, side: int) -> Call:
    photo = portrait()
    return lambda: studio.align(photo, which="largest").image


def _paste(studio: Studio, side: int) -> Call:
    photo = portrait()
    face = studio.align(photo, which="largest")
    edited = np.ascontiguousarray(face.image[:, ::-1])
    return lambda: studio.paste(photo, face, edited).array


def _translate(studio: Studio, side: int) -> Call:
    face, style = portrait(studio.face_size("starganv2")), studio.face_style(seed=0, domain=0)
    return lambda: studio.translate(face, style).array


def _stylize(studio: Studio, side: int) -> Call:
    draw, picture = studio.style_edit(STYLE).draw, portrait(side)
    return lambda: draw(picture)


def _frame(studio: Studio, side: int) -> Call:
    """A frame of a film: the face is found, encoded, drawn twice and laid back."""
    draw, photo = studio.express_edit(EXPRESSION).draw, portrait()
    return lambda: draw(photo)


def _film(studio: Studio, side: int) -> Reel:
    """Every frame in a style, which was encoded before."""
    return _reel(studio.style_edit(STYLE), side)


def _face_film(studio: Studio, side: int) -> Reel:
    """Every frame as in `frame`."""
    return _reel(studio.express_edit(EXPRESSION), side)


def _reel(edit: FrameEdit, side: int) -> Reel:
    side += side % 2  # colours are stored for 2 x 2 px
    return Reel(edit, portrait(side + ROOM))


def _gatys(studio: Studio, side: int) -> Call:
    picture = portrait(A_FEW.size or side)
    return lambda: studio.gatys(picture, STYLE, A_FEW)


def _merge(studio: Studio, side: int) -> Call:
    size = studio.face_size("vaegan")
    a, b = portrait(size), portrait(size)[:, ::-1].copy()
    return lambda: studio.merge(a, b).array


def _lookalikes(studio: Studio, side: int) -> Call:
    face = portrait(studio.face_size("lookalike"))
    return lambda: studio.lookalikes(face, 4, seed=0).faces


def _table(studio: Studio, side: int) -> Call:
    """Two rows and two columns."""
    codes = [studio.sample(seed) for seed in (1, 2, 3, 4)]
    return lambda: studio.style_table(codes[:2], codes[2:]).array


VERBS = {
    "align": Verb(("faces",), _align),
    "animate": Verb(GENERATORS, _animate),
    "edit": Verb(GENERATORS, _edit),
    "express": Verb(GENERATORS, _express),
    "face-film": Verb(GENERATORS, _face_film),
    "film": Verb(("adain",), _film),
    "frame": Verb(GENERATORS, _frame),
    "gatys": Verb(("vgg",), _gatys),
    "invert": Verb(GENERATORS, _invert),
    "lookalikes": Verb(("lookalike",), _lookalikes),
    "merge": Verb(("vaegan",), _merge),
    "mix": Verb(GENERATORS, _mix),
    "move": Verb(GENERATORS, _move),
    "paste": Verb(("faces",), _paste, networks=False),
    "project": Verb(GENERATORS, _project),
    "render": Verb(GENERATORS, _render),
    "stylize": Verb(("adain",), _stylize),
    "swap": Verb(GENERATORS, _swap),
    "table": Verb(GENERATORS, _table),
    "translate": Verb(("starganv2",), _translate),
}


def families_of(verb: str) -> tuple[str, ...]:
    """Families of bundles that a verb uses; a live run stylises."""
    return VERBS["stylize" if verb == LIVE else verb].families


def check_verb(verb: str, bundle: str | None) -> None:
    """Raise InputError for an unknown verb, ArchMismatch for a bundle that it would not use.

    LIVE is a verb of its own: frames come when they are due. A film needs PyAV: MissingDependency.
    """
    if verb not in VERBS and verb != LIVE:
        raise InputError(
            f"there is no verb {verb!r} to measure", hint=f"There are: {', '.join(VERBS)}, {LIVE}"
        )
    if verb in FILMS:
        pyav()
    if bundle is None:
        return
    families = families_of(verb)
    found = Bundle.open(bundle_path(bundle), verify=False)
    if found.spec.family not in families:
        raise ArchMismatch(
            f"bundle {found.name} is of family {found.spec.family}, and the verb {verb} uses one "
            f"of family {' or '.join(families)}",
            hint="Name another, or none for mien's own",
        )


def studio_for(verb: str, bundle: str | None, backend: str, threads: int | None) -> Studio:
    """Open a studio for a verb, with mien's own bundles or another one."""
    if bundle is None:
        return Studio(backend=backend, threads=threads)
    if families_of(verb) == ("faces",):
        return Studio(backend=backend, threads=threads, detector=bundle)
    return Studio(bundle, backend=backend, threads=threads)


@contextlib.contextmanager
def prepared(verb: str, studio: Studio, side: int) -> Iterator[Call]:
    """One call of a verb; what it has made of files is removed at the end."""
    call = VERBS[verb].prepare(studio, side)
    with call if isinstance(call, Reel) else contextlib.nullcontext():
        yield call


def portrait(side: int | None = None) -> U8:
    """One of the portraits that mien drew and comes with, in its own size or a square's."""
    path = min((BUILT_IN / PORTRAIT).glob("*.jpg"), default=None)
    if path is None:
        raise InputError("the sample portraits are not there", hint="Measure a graph: --graph")
    photo = load(path)
    if side is None:
        return photo
    least = min(photo.shape[:2])
    top, left = ((size - least) // 2 for size in photo.shape[:2])
    square = photo[top : top + least, left : left + least]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def verb_contestants(
    verb: str,
    bundle: str | None,
    backends: Sequence[str],
    stack: ExitStack,
    *,
    side: int,
    threads: int | None,
) -> Iterator[Contestant | Refusal | Failure]:
    """Prepare a verb with each backend; its result stands beside the reference's.

    A backend that a graph's gate refuses is refused here, as a studio does.
    """
    expected: Any = None
    stage: Stage
    names = sorted(backends, key=lambda name: name != REFERENCE)
    for name in names if VERBS[verb].networks else [REFERENCE]:
        own, stage = stack.enter_context(ExitStack()), "opening"
        try:
            began = time.perf_counter()
            studio = own.enter_context(studio_for(verb, bundle, name, threads))
            call = own.enter_context(prepared(verb, studio, side))
            opened, stage = time.perf_counter(), "first call"
            found = call()
            first, stage = time.perf_counter(), "accuracy"
            compare = film_accuracy if isinstance(call, Reel) else accuracy
            if isinstance(call, Reel):
                found = call.shown()
            if name == REFERENCE:
                expected = call.drawn() if isinstance(call, Reel) else found
        except MienError as error:
            own.close()
            yield left_out(verb, name, stage, error)
            continue
        yield Contestant(
            name,
            get(name).precision,
            _always(call),
            1e3 * (opened - began),
            1e3 * (first - opened),
            None if expected is None else compare(found, expected),
            {},
        )


def accuracy(found: Any, expected: Any) -> Accuracy:
    """Compare the results of a verb: pictures by their levels, too, searches by their losses.

    found, expected: uint8 pictures, other arrays (a code), or what has a `loss`.
    """
    if hasattr(found, "loss"):
        worse = excess(np.array(found.loss), np.array(expected.loss))
        return Accuracy(measure="excess of the final loss over the reference's", value=worse)
    one, two = np.asarray(found), np.asarray(expected)
    if one.shape != two.shape:
        return Accuracy(measure="shapes differ", value=1.0, detail=f"{one.shape}, {two.shape}")
    return Accuracy(
        measure="greatest difference, as a part of the reference's range",
        value=distance(one, two),
        detail=_levels(one, two) if one.dtype == two.dtype == np.uint8 else "",
    )


def _levels(one: U8, two: U8) -> str:
    """How far two pictures are from each other, as people say it."""
    differences = one.astype(np.int64) - two
    squares = np.square(differences).mean()
    psnr = f"PSNR {10 * np.log10(255**2 / squares):.1f} dB" if squares else "equal"
    return f"{psnr}; {np.abs(differences).max()} of 255 levels at most"


def _always(call: Call) -> Callable[[], Call]:
    return lambda: call
