"""Where bundles are: those that come with mien, and the user's own."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError

BUILT_IN = Path(__file__).parent / "zoo"


def built_in() -> tuple[str, ...]:
    """Names of the bundles that come with mien."""
    return tuple(sorted(path.parent.name for path in BUILT_IN.glob("*/bundle.json")))


def bundle_path(name: str | Path) -> Path:
    """Return the folder or zip of a bundle: a built-in one by its name, all else is a path.

    A folder of one's own that has the name of a built-in bundle is meant by ./NAME.

    Raises InputError where there is none.
    """
    if isinstance(name, str) and name in built_in():
        return BUILT_IN / name
    path = Path(name).expanduser()
    if not path.exists():
        raise InputError(
            f"there is no bundle at {name}",
            hint="Make one: mien export stylegan2 CHECKPOINT -o BUNDLE, or use one that comes "
            f"with mien: {', '.join(built_in())}",
        )
    return path
