"""What a swap reaches: the cosine to the donor and the distance to the face, beside a plain mix.

python benchmarks/swap.py --data DATA [--bundle demo] [--pairs 30]

The judge of the cosines is foamliu's MobileFaceNet, which is no term of the search. DATA is the
folder of test data: portraits, a YuNet detector, the judge, SqueezeNet and its LPIPS heads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien import Studio, SwapSettings, mix
from mien.edits.swap import PUBLISHED
from mien_export.checkpoints.arcface import read_arcface
from mien_export.families.arcface import framing, network
from mien_export.nets.recogniser import Recogniser

sys.path.append(str(Path(__file__).parents[1] / "export"))  # the zoo is not installed

from zoo.faces import as_images
from zoo.metrics import distances, squeeze_lpips

U8 = NDArray[np.uint8]
CELLS = 8
TURN, SCALE, MOVE, BLUR = 4.0, 0.04, 2 / 128, 0.8 / 128  # degrees, relative, of the side


def taken_again(pictures: U8) -> U8:
    """Turn, scale, move and blur each picture a little, the same at every call."""
    random, side = np.random.default_rng(0), pictures.shape[1]
    views = []
    for picture in pictures:
        turn, scale = random.uniform(-TURN, TURN), 1 + random.uniform(-SCALE, SCALE)
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turn, scale)
        matrix[:, 2] += random.uniform(-MOVE, MOVE, 2) * side
        moved = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        views.append(cv2.GaussianBlur(moved, (0, 0), BLUR * side))
    return np.stack(views).astype(np.uint8)


def cells(pictures: U8) -> NDArray[np.float64]:
    """The means of CELLS x CELLS cells, of 1."""
    n, side = len(pictures), pictures.shape[1] // CELLS
    return pictures.reshape(n, CELLS, side, CELLS, side, 3).mean((2, 4)) / 255


def table(judge: Recogniser, faces: U8, drawn: dict[str, U8], data: Path) -> None:
    """Print a line for each way of drawing."""
    term, donors = squeeze_lpips(data), np.roll(faces, -1, 0)

    def embedded(pictures: U8) -> NDArray[np.float32]:
        with torch.no_grad():
            return judge(as_images(pictures)).numpy()

    def cosine(a: U8, b: U8) -> float:
        return float((embedded(a) * embedded(b)).sum(1).mean())

    print("| | donor | taken again | face | LPIPS | colour |\n| --- " + "| ---: " * 5 + "|")
    for name, pictures in drawn.items():
        far = distances(term, as_images(pictures), as_images(faces)).mean()
        colour = np.sqrt(np.square(cells(pictures) - cells(faces)).mean())
        print(
            f"| {name} | {cosine(pictures, donors):.2f} | "
            f"{cosine(taken_again(pictures), donors):.2f} | {cosine(pictures, faces):.2f} | "
            f"{far:.3f} | {colour:.3f} |"
        )


def swapped(
    studio: Studio, faces: U8, starts: Sequence[NDArray[np.float32]], settings: SwapSettings
) -> U8:
    donors = np.roll(faces, -1, 0)
    return np.stack(
        [
            studio.swap(identity=d, attributes=f, settings=settings, start=s, every=60).picture
            for d, f, s in zip(donors, faces, starts, strict=True)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="demo")
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    photos = sorted((options.data / "images/portraits1024").glob("*.jpg"))[: options.pairs]
    detector = options.data / "weights/face_det/yunet_n_640_640.onnx"
    net = network(read_arcface(options.data / "weights/face_embed/foamliu_mobilefacenet.pt"))
    with Studio(options.bundle, detector=detector) as studio:
        faces = np.stack([studio.align(photo, which="largest").image for photo in photos])
        judge = Recogniser(net, framing(net, studio.resolution))
        codes = [studio.project(face).ws for face in faces]
        mixes = [
            mix(own, donor, layers="middle")
            for own, donor in zip(codes, [*codes[1:], codes[0]], strict=True)
        ]
        short = replace(PUBLISHED, steps=60, decay=0.97)
        drawn = {
            "projection": np.stack([studio.render(code).array for code in codes]),
            "mix": np.stack([studio.render(code).array for code in mixes]),
            "swap, published terms": swapped(studio, faces, codes, short),
            "swap": swapped(studio, faces, mixes, SwapSettings()),
        }
        table(judge, faces, drawn, options.data)


if __name__ == "__main__":
    main()
