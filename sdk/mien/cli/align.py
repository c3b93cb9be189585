"""`mien align`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import (
    Bundle,
    Detector,
    Json,
    LandmarksFile,
    Which,
    answer,
    which_face,
)


def command(
    photo: Annotated[Path, typer.Argument(help="A photograph: JPEG, PNG, WebP, BMP or TIFF.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The crop: PNG, JPEG or WebP.")],
    detector: Detector = None,
    landmarks: LandmarksFile = None,
    face: Which = "only",
    size: Annotated[
        int | None, typer.Option(help="Of the crop in px; unasked, the generator's.")
    ] = None,
    bundle: Bundle = "demo",
    as_json: Json = False,
) -> None:
    """Cut a face out of a photograph, upright and framed as FFHQ does.

    Example: mien align anna.jpg -o anna.png --detector yunet.onnx
    """
    from mien.images import save
    from mien.studio import Studio

    with Studio(bundle, detector=detector) as studio:
        aligned = studio.align(photo, landmarks=landmarks, which=which_face(face), size=size)
    save(aligned.image, output, edits=["align"])
    answer(
        {
            "output": output,
            "size": aligned.image.shape[0],
            "quad": aligned.quad.tolist(),
            "to_photo": aligned.to_photo.tolist(),
        },
        f"{output}: {aligned.image.shape[0]} px",
        as_json=as_json,
    )
