"""Make what comes with mien: a bundle of each network, and two portraits that its generator drew.

    python export/zoo/ship.py [NAME ...] [--detector yunet.onnx]

The bundles go the way of every checkpoint, through mien export. The portraits are faces of the
generator on a canvas, turned and scaled, so that alignment has work to do; their landmarks are
found by the detector, and without one the portraits stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.detect import Detector, choose
from mien.images import save
from mien.studio import Studio
from mien_export.content import Extras
from mien_export.export import NO_EXTRAS, export
from mien_export.families.stylegan2 import OWN_FEATURES
from mien_export.progress import announce

ROOT = Path(__file__).parents[2]
ZOO = Path(__file__).parent
EMBEDDER = ZOO / "embedder" / "embedder.safetensors"  # for the face swap
SHIPPED = ROOT / "sdk" / "mien" / "zoo"


@dataclass(frozen=True)
class Shipped:
    """A bundle that comes with mien: its family, its checkpoint in the zoo, and what goes with."""

    family: str
    checkpoint: str
    extras: Extras = NO_EXTRAS


DEMO_EXTRAS = Extras(encoder=OWN_FEATURES, arcface=EMBEDDER if EMBEDDER.is_file() else None)
BUNDLES = {
    "demo": Shipped("stylegan2", "faces128/generator.pt", DEMO_EXTRAS),
    "vgg": Shipped("vgg", "vgg/vgg.safetensors"),
    "adain": Shipped("adain", "adain/adain.safetensors"),
    "embedder": Shipped("arcface", "embedder/embedder.safetensors"),
    "vaegan": Shipped("vaegan", "vaegan/vaegan.safetensors"),
    "lookalike": Shipped("lookalike", "lookalike/lookalike.safetensors"),
    "starganv2": Shipped("starganv2", "starganv2/nets_ema.ckpt", Extras(domains="female,male")),
    "faces": Shipped(
        "faces",
        "faces/detector.safetensors",
        Extras(landmarks=ZOO / "faces" / "landmarks.safetensors"),
    ),
}

# name, seed, degrees, size of the face's square and its centre on a canvas of 640 x 800 px
PORTRAITS = (("ada", 8, -14.0, 430, (300, 370)), ("ben", 11, 11.0, 380, (350, 410)))
CANVAS = (640, 800)


def portrait(
    face: NDArray[np.uint8], degrees: float, side: int, centre: tuple[int, int]
) -> NDArray[np.uint8]:
    """Lay face on a canvas, turned; around it its own blurred edge."""
    size = face.shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, side / size)
    matrix[:, 2] += np.array(centre) - size / 2
    picture = cv2.warpAffine(
        face, matrix, CANVAS, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    around = cv2.GaussianBlur(picture, (0, 0), 25)
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / (0.12 * size)
    weight = np.outer(ramp.clip(0, 1), ramp.clip(0, 1)).astype(np.float32)
    weight = cv2.warpAffine(weight, matrix, CANVAS)[:, :, None]
    mixed = around + weight * (picture.astype(np.float32) - around)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def ship(name: str) -> None:
    """Export a network of the zoo to where mien finds it."""
    shipped = BUNDLES[name]
    with announce() as progress:
        export(
            shipped.family,
            ZOO / shipped.checkpoint,
            SHIPPED / name,
            shipped.extras,
            licence="Apache-2.0",
            name=name,
            half=True,
            overwrite=True,
            progress=progress,
        )


def draw_portraits(detector: Detector) -> None:
    """Draw the portraits anew, and find their landmarks."""
    folder = SHIPPED / "portraits"
    folder.mkdir(parents=True, exist_ok=True)
    with Studio("demo") as studio:
        for name, seed, degrees, side, centre in PORTRAITS:
            face = studio.render(studio.sample(seed)).array
            picture = portrait(face, degrees, side, centre)
            save(picture, folder / f"{name}.jpg", edits=["sample"])
            choose(detector.detect(picture), "largest").landmarks.save(folder / f"{name}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="none means all")
    parser.add_argument("--detector", type=Path, help="a YuNet file; also draws the portraits anew")
    options = parser.parse_args()
    trained = [name for name, x in BUNDLES.items() if (ZOO / x.checkpoint).exists()]
    for name in options.names or trained:
        ship(name)
    if options.detector is not None:
        draw_portraits(Detector(options.detector))


if __name__ == "__main__":
    main()
