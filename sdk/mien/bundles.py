"""Where bundles are: the one that comes with mien, and the user's own."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError

DEMO = Path(__file__).parent / "zoo" / "demo"


def bundle_path(name: str | Path) -> Path:
    """Return the folder or zip of a bundle: "demo" is mien's own, all else is a path.

    Raises InputError where there is none.
    """
    path = DEMO if str(name) == "demo" else Path(name).expanduser()
    if not path.exists():
        raise InputError(
            f"there is no bundle at {name}",
            hint="Make one: mien export stylegan2 CHECKPOINT -o BUNDLE, or use demo",
        )
    return path
