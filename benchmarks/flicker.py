"""How much smoothing takes of the flicker that AdaIN makes of a still shot with a camera's noise.

    python benchmarks/flicker.py [--bundle adain] [--frames 40]

Flicker is the mean difference of a picture and the one before, which is moved along with the scene
first, by a flow of the frames (Farneback 2003) that the smoother does not use. Beside a still shot,
a slow pan shows that what moves is not smeared: its distance is that to the picture of the frame
without noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from rounds import machine

import mien
from mien.video.smooth import Smoother

U8 = NDArray[np.uint8]

SIDE, STEP, NOISE = 256, 2, 3.0  # px; px a frame of the pan; levels
SETTLE = 8  # frames, before which the smoother has not seen enough


def scene(studio: mien.Studio) -> U8:
    """A row of faces, wide enough to pan over."""
    faces = [studio.render(studio.sample(seed)).array for seed in (1, 2, 3)]
    return np.hstack([cv2.resize(face, (SIDE, SIDE)) for face in faces])


def flicker(frames: list[U8], shown: list[U8]) -> float:
    differences = []
    for (a, b), (before, after) in zip(pairwise(frames), pairwise(shown), strict=True):
        later, earlier = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (b, a))
        way = cv2.calcOpticalFlowFarneback(later, earlier, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        y, x = np.mgrid[: a.shape[0], : a.shape[1]].astype(np.float32)
        moved = cv2.remap(before, x + way[..., 0], y + way[..., 1], cv2.INTER_LINEAR)
        differences.append(np.abs(moved.astype(float) - after).mean())
    return float(np.mean(differences))


def measure(draw: Callable[[U8], U8], clean: list[U8], strength: float) -> tuple[float, float]:
    """Flicker of the drawn frames, and their mean distance to those without noise."""
    rng = np.random.default_rng(0)
    frames = [
        (frame + NOISE * rng.standard_normal(frame.shape)).round().clip(0, 255).astype(np.uint8)
        for frame in clean
    ]
    smoother = Smoother(strength)
    shown = [smoother(frame, draw(frame)) for frame in frames][SETTLE:]
    wanted = [draw(frame) for frame in clean[SETTLE:]]
    distance = np.mean(
        [np.abs(a.astype(float) - b).mean() for a, b in zip(shown, wanted, strict=True)]
    )
    return flicker(frames[SETTLE:], shown), float(distance)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", help="of family adain; unasked, mien's own")
    parser.add_argument("--style", default="mosaic")
    parser.add_argument("--frames", type=int, default=40)
    options = parser.parse_args()
    named = [options.bundle] if options.bundle else []
    print(f"{machine('openvino', 'numpy')}\n")
    print("| smoothing | still: flicker | to the clean one | pan: flicker | to the clean one |")
    print("| ---: |" + " ---: |" * 4)
    with mien.Studio("demo", *named) as studio:
        wide, draw = scene(studio), studio.style_edit(options.style).draw
        still = [wide[:, :SIDE].copy()] * options.frames
        pan = [wide[:, STEP * i : STEP * i + SIDE].copy() for i in range(options.frames)]
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
            found = [value for shot in (still, pan) for value in measure(draw, shot, strength)]
            print(f"| {strength:g} | " + " | ".join(f"{value:.2f}" for value in found) + " |")


if __name__ == "__main__":
    main()
