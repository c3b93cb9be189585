"""`mien video`"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import Backend, Json, Mark, answer, as_domain, numbers

if TYPE_CHECKING:
    from mien.studio import Studio
    from mien.video import FrameEdit

Styles = Annotated[
    list[str] | None,
    typer.Option("--style", help="A picture, or mosaic, print, strokes, waves; several blend."),
]
Strength = Annotated[
    float, typer.Option(help="Of a style or an expression: 0 is none, 1 the whole.")
]
Weights = Annotated[
    str, typer.Option(help="One for each of several styles: 1,2. Unasked, all alike.")
]
KeepColour = Annotated[bool, typer.Option("--keep-colour", help="Hues stay the picture's own.")]
Side = Annotated[
    int | None, typer.Option("--side", help="Scale to so many px, at the shorter side, before.")
]
Smooth = Annotated[
    float, typer.Option("--smooth", help="Against flicker: 0 none, 1 as much as there is.")
]
Translate = Annotated[
    Path | None,
    typer.Option("--translate", help="A photograph: the face is drawn in its style (StarGAN v2)."),
]
DomainOf = Annotated[
    str | None, typer.Option("--domain", help="Of --translate: its number, or its name.")
]
Expressed = Annotated[
    str | None,
    typer.Option("--edit", help="An expression of the face: happy, sad, fear, or a file."),
]
EditBundle = Annotated[
    str | None, typer.Option("--bundle", help="A bundle of the edit's family: its folder or zip.")
]


def command(
    source: Annotated[Path, typer.Argument(help="A video or a GIF.")],
    output: Annotated[Path, typer.Argument(help="FILE.mp4, .m4v, .mov, .mkv, .webm or .gif.")],
    style: Styles = None,
    translate: Translate = None,
    domain: DomainOf = None,
    edit: Expressed = None,
    strength: Strength = 1.0,
    weights: Weights = "",
    keep_colour: KeepColour = False,
    side: Side = None,
    smooth: Smooth = 0.0,
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="Copy the sound as it is, or leave it out.")
    ] = True,
    on_failure: Annotated[
        str, typer.Option(help="Of a frame that fails: stop, hold the last one, or pass it.")
    ] = "stop",
    also: Annotated[
        list[str] | None, typer.Option("--also", help="side-by-side: also OUTPUT-side-by-side.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what a broken run has done.")
    ] = False,
    mark: Mark = True,
    bundle: EditBundle = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Edit every frame of a video or a GIF. Times stay exact, the sound is copied as it is.

    Example: mien video clip.mp4 tiles.mp4 --style mosaic

    Example: mien video clip.mp4 out.gif --style mark.jpg --smooth 0.5 --side 256 --no-sound

    Ctrl-C leaves OUTPUT.partial with what is done; the same command goes on from there.
    """
    from mien.cli.progress import frame_bar
    from mien.studio import Studio
    from mien.video import convert

    rules: Any = {"on_failure": on_failure, "also": also or ()}
    with Studio(*([bundle] if bundle else []), backend=backend) as studio:
        asked = asked_edit(studio, style, translate, domain, edit, strength, weights, keep_colour)
        with frame_bar("drawing", quiet=as_json) as show, interrupts() as stop:
            made = convert(
                source,
                output,
                asked,
                side=side,
                sound=sound,
                smoothing=smooth,
                mark=mark,
                restart=restart,
                callback=show,
                stop=stop,
                **rules,
            )
    faults = {"lost": made.lost, "damaged": made.damaged, "dropped": made.dropped}
    faults["not edited"] = len(made.failures)
    notes = [f"{count} {name}" for name, count in faults.items() if count]
    notes += [f"without {track}" for track in made.left_out]
    answer(
        made.record(),
        ", ".join([f"{output}: {made.frames} frames in {made.seconds:.1f} s", *notes]),
        as_json=as_json,
    )


def asked_edit(
    studio: Studio,
    style: list[str] | None,
    translate: Path | None,
    domain: str | None,
    expression: str | None,
    strength: float,
    weights: str,
    keep_colour: bool,
) -> FrameEdit:
    """Return the one edit that was asked for: another is one more option, and one more line here.

    Raises InputError where none was, or several were.
    """
    from mien.errors import InputError

    shares = numbers(weights, "--weights") if weights else None
    edits: dict[str, tuple[object, Callable[[], FrameEdit]]] = {
        "--style": (
            style,
            lambda: studio.style_edit(
                style or [], strength=strength, weights=shares, keep_colour=keep_colour
            ),
        ),
        "--translate": (
            translate,
            lambda: studio.translate_edit(
                studio.face_style(
                    reference=studio.align_for_translation(translate or "", which="largest"),
                    domain=as_domain(domain),
                )
            ),
        ),
        "--edit": (expression, lambda: studio.express_edit(expression or "", strength)),
    }
    asked = [name for name, (value, _) in edits.items() if value]
    if len(asked) != 1:
        raise InputError(
            f"{' and '.join(asked) or 'no edit'} was asked for",
            hint=f"Name one: {', '.join(edits)}",
        )
    return edits[asked[0]][1]()


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts at once."""
    stop = threading.Event()

    def note(number: int, _: object) -> None:
        signal.signal(number, signal.default_int_handler)
        stop.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
