"""`mien align`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import Bundle, Detector, Json, Mark, answer, which_face

if TYPE_CHECKING:
    from mien.faces.align import AlignedFace


def command(
    photo: Annotated[Path, typer.Argument(help="A photograph: JPEG, PNG, WebP, BMP or TIFF.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The crop: PNG, JPEG or WebP.")],
    detector: Detector = None,
    landmarks: Annotated[
        list[Path] | None,
        typer.Option(
            "--landmarks",
            help="A file of 5 or 68 points, instead of a detector; with --face all one a face.",
        ),
    ] = None,
    face: Annotated[
        str,
        typer.Option("--face", help="Of several: only, largest, all, or a number, 0 at the left."),
    ] = "only",
    size: Annotated[
        int | None, typer.Option(help="Of the crop in px; unasked, the generator's.")
    ] = None,
    bundle: Bundle = "demo",
    mark: Mark = True,
    as_json: Json = False,
) -> None:
    """Cut faces out of a photograph, upright and framed as FFHQ does.

    \b
    Example: mien align anna.jpg -o anna.png

    Example: mien align anna.jpg -o anna.png --landmarks anna.txt --size 1024

    Example: mien align group.jpg -o guest.png --face all

    Beside each crop lies NAME.face.json, which says where it was cut: mien paste needs it. With
    --face all, crops are numbered from the left: guest-0.png, guest-1.png and so on.
    """
    from mien.errors import InputError
    from mien.images import load
    from mien.studio import Studio

    files = landmarks or []
    if len(files) > 1 and face != "all":
        raise InputError(f"{len(files)} landmark files were given", hint="Name one, or --face all")
    if output.resolve() == photo.resolve():
        raise InputError(
            f"{output} is the photograph itself", hint="Name another file: mien paste needs both"
        )
    pixels = load(photo)
    with Studio(bundle, detector=detector) as studio:
        if face == "all":
            found = studio.align_all(pixels, landmarks=files or None, size=size)
            outputs = [output.with_stem(f"{output.stem}-{i}") for i in range(len(found))]
        else:
            points = files[0] if files else None
            which = which_face(face)
            found = [studio.align(pixels, landmarks=points, which=which, size=size)]
            outputs = [output]
    faces = [
        _written(one, photo, pixels, path, mark=mark)
        for one, path in zip(found, outputs, strict=True)
    ]
    sentences = [f"{f['output']}: {f['size']} px" + _warnings(f["flags"]) for f in faces]
    answer({"faces": faces}, "\n".join(sentences), as_json=as_json)


def _written(
    face: AlignedFace, photo: Path, pixels: Any, output: Path, *, mark: bool
) -> dict[str, Any]:
    """Write a crop and its record; return what there is to tell of them."""
    from mien.faces.record import record_path, save_face
    from mien.images import save
    from mien.provenance import carried, digest

    edits, sources = carried([photo])
    done, named = dict.fromkeys([*edits, "align"]), dict.fromkeys([*sources, digest(pixels)])
    save(face.image, output, edits=[*done], sources=[*named], mark=mark)
    record = save_face(face, pixels, record_path(output), name=photo.name)
    return {
        "output": output,
        "record": record,
        "size": face.size,
        "quad": face.quad.tolist(),
        "to_photo": face.to_photo.tolist(),
        "flags": list(face.flags),
    }


def _warnings(flags: list[Any]) -> str:
    from mien.faces.quality import MEANINGS

    return "".join(f"\n  {flag}: {MEANINGS[flag]}" for flag in flags)
