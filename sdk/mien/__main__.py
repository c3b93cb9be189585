"""`python -m mien` is `mien`."""

from mien.cli.main import run

run()
