"""The `mien` command: its verbs, and one line instead of a traceback."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys

import click
import typer

from mien.errors import MienError

INTERRUPTED = 130  # the shell's own number for Ctrl-C

# Verb -> the module of this package that has it as `command`; loaded only when it is typed.
VERBS = {
    "demo": "Align, project and mix two portraits; writes contact.png and report.html.",
    "doctor": "Say what is installed, which backends open, and what to type.",
    "info": "Say what a bundle holds.",
    "align": "Cut a face out of a photograph, upright and framed.",
    "project": "Find the W+ code of a face.",
    "mix": "Draw one face with layers of another.",
    "render": "Draw a code, or a face that does not exist.",
}
PLUGINS = "mien.commands"  # entry points of other distributions and of mien_export
PLUGIN_HELP = {"export": "Turn a trained checkpoint into a bundle (needs mien[export])."}


class Verbs(click.Group):
    """Loads a verb's module when it is typed, so that `mien --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *(name for name in _plugins() if name not in VERBS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in VERBS:
            function = importlib.import_module(f"mien.cli.{name}").command
        elif name in _plugins():
            function = _plugins()[name].load()
        else:
            return None
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(function)
        return typer.main.get_command(app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, VERBS.get(name, PLUGIN_HELP.get(name, ""))) for name in self.list_commands(ctx)
        ]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: mien demo. Each verb explains itself: mien VERB --help",
)
@click.version_option(package_name="mien", message="mien %(version)s")
def group() -> None:
    """Face style editing at inference speed."""


def run() -> None:
    """Run the command line. Errors end in one line and a status other than 0."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run arguments and return the exit status: 0, 1 an error, 2 a wrong argument, 130 Ctrl-C."""
    try:
        group.main(arguments, prog_name="mien", standalone_mode=False)
    except MienError as error:
        print(f"mien: {_one_line(str(error))}", file=sys.stderr)
        return 1
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except click.ClickException as error:
        print(f"mien: {_one_line(error.format_message())} See: mien --help", file=sys.stderr)
        return int(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("mien: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=PLUGINS)}
