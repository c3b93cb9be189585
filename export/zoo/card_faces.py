"""Publish the face networks of two runs: checkpoints, bundle, model card, contact sheet.

    python -m zoo.card_faces DETECTOR_RUN LANDMARKS_RUN --data DATA

All figures are of the shipped bundle. The sheet shows faces that mien's own generator drew, and
what the bundle finds in them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import mien_engines
from mien import Studio
from mien_engines import Engine
from zoo.backgrounds import Backgrounds
from zoo.composite import Compositor
from zoo.detections import matched
from zoo.labels import MIRRORED_5, Teachers, labelled_faces
from zoo.portraits import EYES, detect, figures, look_closer
from zoo.ship import FACES, SHIPPED, portrait, ship_faces
from zoo.training import Record, load

U8 = NDArray[np.uint8]

FOLDERS = ("portraits1024", "portraits512")
HELD = 200  # canvases of held-out faces
CANVAS = 320  # px
SEEDS, ROW = range(20, 26), 6  # faces of the sheet
GROUP = (7, 8, 9, 11, 13, 14)  # seeds of the faces on one canvas
GREEN, RED = (0, 220, 90), (230, 40, 40)


def on_canvases(engine: Engine, data: Path, labels: Path) -> dict[str, float]:
    """Measure on held-out faces laid on canvases: several, small, turned, blurred."""
    _, held = labelled_faces(data, labels, "five")
    compositor = Compositor(held, MIRRORED_5, [], np.random.default_rng(77))
    canvases = [compositor.draw(CANVAS) for _ in range(HELD)]
    return matched([detect(engine, canvas.picture) for canvas in canvases], canvases)


def sheet(engine: Engine) -> U8:
    """Draw what the bundle finds in faces of the generator: alone, and several at once."""
    with Studio("demo") as studio:
        alone = [studio.render(studio.sample(seed)).array for seed in SEEDS]
        several = [studio.render(studio.sample(seed)).array for seed in GROUP]
    random = np.random.default_rng(4)
    singles = []
    for face in alone:
        degrees = float(random.uniform(-25, 25))
        picture = portrait(face, degrees, 400, (320, 400))[80:720]
        singles.append(
            cv2.resize(marked(engine, picture), (256, 256), interpolation=cv2.INTER_AREA)
        )
    side = 256 * ROW // 2
    canvas = Backgrounds([], [several[0]], random).draw(side)[: side // 2]
    canvas = np.concatenate([canvas, canvas[:, ::-1]], 1)
    for i, face in enumerate(several):
        size = int(random.uniform(90, 230))
        centre = (int(256 * (i + 0.5)), int(random.uniform(130, 250)))
        turned = portrait(face, float(random.uniform(-30, 30)), size, (128, 128))[:256, :256]
        mask = np.zeros((256, 256), np.float32)
        cv2.ellipse(mask, (128, 128), (size * 9 // 25, size * 11 // 25), 0, 0, 360, 1.0, -1)
        weight = cv2.GaussianBlur(mask, (0, 0), 4)[:, :, None]
        place = canvas[centre[1] - 128 : centre[1] + 128, centre[0] - 128 : centre[0] + 128]
        place[:] = place + weight * (turned.astype(np.float32) - place)
    return np.concatenate([np.concatenate(singles, 1), marked(engine, canvas)])


def marked(engine: Engine, picture: U8) -> U8:
    """Draw boxes, 68 points in green and the detector's five in red."""
    picture = np.ascontiguousarray(picture)
    found = detect(engine, picture)
    drawn = picture.copy()
    thick = max(1, picture.shape[0] // 320)
    for box, five in zip(found.boxes, found.five, strict=True):
        corners = [tuple(int(v) for v in corner) for corner in box.reshape(2, 2)]
        cv2.rectangle(drawn, corners[0], corners[1], GREEN, thick)
        many = look_closer(engine, picture, box)
        eyes = np.hypot(*(many[EYES[1]].mean(0) - many[EYES[0]].mean(0)))
        for points, colour, share in ((many, GREEN, 0.02), (five, RED, 0.03)):
            radius = max(1, round(share * eyes))
            for x, y in points:
                cv2.circle(drawn, (int(x), int(y)), radius, colour, -1, cv2.LINE_AA)
    return drawn


def publish(runs: dict[str, Path]) -> None:
    """Take the checkpoints of the runs, and make the bundle of them."""
    FACES.mkdir(exist_ok=True)
    for name, run in runs.items():
        shutil.copyfile(run / f"{name}.safetensors", FACES / f"{name}.safetensors")
    ship_faces()


def card(
    records: dict[str, Record],
    measured: dict[str, dict[str, float]],
    canvases: dict[str, float],
    bytes_: int,
) -> str:
    def row(what: str, key: str, digits: int = 1, unit: str = " %") -> str:
        values = " | ".join(f"{measured[folder][key]:.{digits}f}{unit}" for folder in FOLDERS)
        return f"| {what} | {values} |"

    found = " | ".join(
        f"{measured[f]['found']:.0f} of {measured[f]['portraits']:.0f}" for f in FOLDERS
    )
    table = "\n".join(
        [
            f"| faces found | {found} |",
            row("false faces", "false", 0, ""),
            row("**5 points**, mean", "5 points"),
            row("5 points, worst portrait", "5 points, worst"),
            row("one look of YuNet, 5 points, mean", "teacher's look, 5"),
            row("YuNet as it looks at 960 px at most, 5 points, mean", "teacher at 960, 5"),
            row("the 5 points against YuNet at 960 px at most", "5 to teacher at 960"),
            row("**68 points**, mean", "68 points"),
            row("68 points, worst portrait", "68 points, worst"),
            row("one look of PFLD, 68 points, mean", "teacher's look, 68"),
        ]
    )
    recipe = "; ".join(
        f"{name} {record.step:,} steps in {record.minutes:.0f} minutes"
        for name, record in records.items()
    )
    return f"""# faces: the detector and the 68 points that come with mien

A detector without anchors (strides 8, 16, 32; a box and 5 points of each face) and a network that
finds 68 points in a 112 px crop. Made by this project, licensed as it is (Apache-2.0). The bundle
has {bytes_ / 1e6:.2f} MB, weights in float16.

![contact sheet](contact.png)

Faces that mien's own generator drew; green the box and the 68 points, red the detector's five.

| figure | {" | ".join(FOLDERS)} |
| --- | --- | --- |
{table}

Errors are mean distances of the points, in percent of the distance of the eyes, from the mean of 10
looks of the teacher: 5 sizes, each also mirrored. A look of the teacher is itself some percent from
that mean, which is how exact these labels are. No portrait was trained on: 46 of the training faces
are portraits in smaller form, and are left out.

On {HELD} canvases of {CANVAS} px with held-out faces on them (12 px and larger, turned up to 45
degrees, blurred, noisy): {100 * canvases["found"]:.1f} % found, {canvases["false"]:.3f} false faces
a canvas, error of the 5 points {canvases["error"]:.1f} %.

- **Data**: synthetic faces (people who do not exist), labelled by YuNet and PFLD as they are and
  mirrored; the labels' mean is learnt. Laid on gradients, noise, paintings and pieces of faces'
  surroundings, turned, stretched, scaled, lit, blurred and packed as JPEG.
- **Recipe**: {recipe}; low priority beside other work on {os.cpu_count()} cores
  ({platform.machine()}, torch {torch.__version__}). `zoo/detector.py`, `zoo/landmarks.py`.
- **Limits**: frontal and half-turned faces of adults. Profiles, masks, faces upside down and
  crowds were not trained on. Skin and age are as diverse as the generated faces of the training
  data, which is not the world's diversity.
- **Use**: alignment. It finds faces; it recognises nobody.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path, help="run of zoo.detector")
    parser.add_argument("landmarks", type=Path, help="run of zoo.landmarks")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and weights/")
    options = parser.parse_args()
    runs = {"detector": options.detector, "landmarks": options.landmarks}
    publish(runs)
    teachers = Teachers(options.data, 0.3)
    with mien_engines.open(SHIPPED / "faces", "ort") as engine:
        measured = {f: figures(engine, teachers, options.data / "images" / f) for f in FOLDERS}
        canvases = on_canvases(engine, options.data, options.detector / "labels.npz")
        cv2.imwrite(str(FACES / "contact.png"), sheet(engine)[:, :, ::-1])
    size = sum(path.stat().st_size for path in (SHIPPED / "faces").iterdir())
    records = {name: load(run)[0] for name, run in runs.items()}
    (FACES / "card.md").write_text(card(records, measured, canvases, size))


if __name__ == "__main__":
    main()
