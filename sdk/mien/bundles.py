"""Where bundles and styles are: those that come with mien, and the user's own."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError

BUILT_IN = Path(__file__).parent / "zoo"
DETECTOR = "faces"  # the built-in bundle that finds faces, where this copy of mien has it


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
            hint="Make one: mien export FAMILY CHECKPOINT -o BUNDLE, or use one that comes "
            f"with mien: {', '.join(built_in())}",
        )
    return path


def detector_path(name: str | Path | None) -> Path:
    """Return the file or the bundle that finds faces; None means the built-in one.

    Raises InputError where there is none.
    """
    if name is None and DETECTOR not in built_in():
        raise InputError(
            "no landmarks and no detector were given",
            hint="Name a YuNet file or a bundle of family faces (detector=, --detector), or a "
            "landmarks file (landmarks=, --landmarks)",
        )
    if name is None or str(name) in built_in():
        return BUILT_IN / str(name or DETECTOR)
    path = Path(name).expanduser()
    if not path.exists():
        raise InputError(
            f"there is no detector file {name}",
            hint="Name a YuNet ONNX file or a bundle of family faces",
        )
    return path


def built_in_styles() -> tuple[str, ...]:
    """Names of the style pictures that come with mien."""
    return tuple(sorted(path.stem for path in (BUILT_IN / "styles").glob("*.jpg")))


def style_path(name: str | Path) -> Path:
    """Return the file of a style: a built-in one by its name, all else is a path.

    Raises InputError for a word that is neither.
    """
    if isinstance(name, str) and name in built_in_styles():
        return BUILT_IN / "styles" / f"{name}.jpg"
    path = Path(name)
    if not path.suffix and not path.exists():
        raise InputError(
            f"there is no style {str(name)!r}",
            hint=f"Name a picture, or one of {', '.join(built_in_styles())}",
        )
    return path
