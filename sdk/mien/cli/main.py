"""The `mien` command: its verbs, and one line instead of a traceback."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType

import mien
from mien.errors import Cancelled, InputError, MienError

WRONG_ARGUMENT = 2
INTERRUPTED = 130  # the shell's own number for Ctrl-C

# Verb -> what it does. Module `mien.cli.VERB` has it as `command`, and is loaded when it is typed;
# a hyphen is an underscore there.
VERBS = {
    "demo": "Align, project, mix and edit two portraits; writes a contact sheet and a page.",
    "doctor": "Say what is installed, which backends open, and what to type.",
    "info": "Say what a bundle holds.",
    "build": "Build a bundle's plans for TensorRT or TensorRT-RTX.",
    "bench": "Measure latency and accuracy, backends side by side.",
    "align": "Cut a face out of a photograph, upright and framed.",
    "paste": "Put an edited face back into its photograph.",
    "project": "Find the W+ code of a face.",
    "mix": "Draw one face with layers of another.",
    "table": "Draw every face with layers of every other, on one sheet.",
    "express": "Give a face an expression, or animate it.",
    "make-expression": "Make an expression of photographs.",
    "move": "Move a face along an edit direction.",
    "stylize": "Draw a picture in the style of others.",
    "gatys": "Paint a picture in the style of others, by a search for its pixels.",
    "video": "Edit every frame of a video or a GIF; the sound is kept.",
    "webcam": "Edit a camera live, or a file at its own speed.",
    "edit": "Give a face one part of another: eyes, nose, mouth, hair.",
    "catalogue": "Find which channels of a generator draw which part.",
    "swap": "Give one face the identity of another.",
    "merge": "Merge two faces, or one with many.",
    "translate": "Draw a face in the style of another domain.",
    "lookalikes": "Draw faces that share a face's identity, or a labelled set.",
    "render": "Draw a code, or a face that does not exist.",
    "scale": "Run a verb over a folder, a manifest or films: in processes, or on Ray.",
    "serve": "Open the studio in the browser, and its HTTP API (needs mien[serve]).",
    "provenance": "Say what a picture's file states of its making.",
}
PLUGINS = "mien.commands"  # entry points: verbs of other packages
PLUGIN_HELP = {
    "export": "Turn a trained checkpoint into a bundle (needs mien[export]).",
    "export-triton": "Write a bundle as models of NVIDIA's Triton server.",
}

USAGE = """Usage: mien VERB [ARGUMENTS]

Face style editing at inference speed.

Verbs:
{verbs}

Start with: mien demo. Each verb explains itself: mien VERB --help
mien --version says which this is."""


def run() -> None:
    """Run the command line. Errors end in one line and a status other than 0."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run arguments and return the exit status: 0, 1 an error, 2 a wrong argument, 130 Ctrl-C."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"mien {mien.__version__}")
        return 0
    try:
        function = _function(arguments[0])
    except InputError as error:
        return _fail(str(error), WRONG_ARGUMENT)
    try:
        return _call(arguments[0], function, arguments[1:])
    except Cancelled as error:
        return _fail(str(error), INTERRUPTED)
    except MienError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def usage() -> str:
    """Return the help page: the verbs, a line each."""
    verbs = VERBS | {name: PLUGIN_HELP.get(name, "") for name in _plugins() if name not in VERBS}
    width = max(map(len, verbs))
    return USAGE.format(verbs="\n".join(f"  {n:{width}}  {what}" for n, what in verbs.items()))


def _call(verb: str, function: Callable[..., object], arguments: list[str]) -> int:
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        status = app(arguments, prog_name=f"mien {verb}", standalone_mode=False)
    except typer.TyperException as error:
        return _fail(f"{_said(error)}. See: mien {verb} --help", WRONG_ARGUMENT)
    except typer.Abort:
        return _fail("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _said(error: Exception) -> str:
    """What is wrong with the arguments, naming the option as it is typed."""
    text = str(getattr(error, "message", "") or error).rstrip(".")
    parameter = getattr(error, "param", None)
    if parameter is None:
        return text
    typed = max(parameter.opts, key=len)
    name = typed if typed.startswith("-") else parameter.name.upper()
    return f"{name}: {text}" if getattr(error, "message", "") else f"{name} is missing"


def _function(verb: str) -> Callable[..., object]:
    if verb in VERBS:
        from mien.cli.families import checked

        return checked(verb, _module(verb).command)
    plugins = _plugins()
    if verb in plugins:
        loaded: Callable[..., object] = plugins[verb].load()
        return loaded
    near = difflib.get_close_matches(verb, [*VERBS, *plugins], 1)
    hint = f"Did you mean mien {near[0]}?" if near else "See the list: mien --help"
    raise InputError(f"there is no verb {verb!r}", hint=hint)


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"mien.cli.{verb.replace('-', '_')}")


def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=PLUGINS)}


def _fail(text: str, status: int) -> int:
    print(f"mien: {' '.join(text.split())}", file=sys.stderr)
    return status
