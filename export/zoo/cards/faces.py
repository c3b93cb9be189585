"""The card of faces: python -m zoo.cards.faces DETECTOR_RUN LANDMARKS_RUN --data DATA

Takes the checkpoints of the two runs and ships them first.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import mien_engines
from mien import Studio
from mien.bundles import bundle_path
from mien_engines import Engine
from zoo.backgrounds import Backgrounds
from zoo.card import BESIDE, HERE, Card, machine, write_card
from zoo.composite import Compositor
from zoo.detections import matched
from zoo.labels import MIRRORED_5, Teachers, labelled_faces
from zoo.portraits import EYES, detect, figures, look_closer
from zoo.ship import portrait, ship
from zoo.training import Record, load

U8 = NDArray[np.uint8]

NETS = ("detector", "landmarks")
FOLDERS = {"portraits1024": "1024 px", "portraits512": "512 px"}
DOUBTFUL = 0.3  # least score of a teacher's face: it must find each portrait's
HELD, CANVAS = 200, 320  # canvases of held-out faces, their side in px
ALONE, SEVERAL = range(20, 26), (7, 8, 9, 11, 13, 14)  # seeds of the faces on the sheet
TILE = 256  # px
GREEN, RED = (0, 220, 90), (230, 40, 40)
# What `figures` measures -> what the card calls it.
ERRORS = {
    "5 points": "5 points",
    "teacher's look, 5": "5 points, one look of YuNet",
    "teacher at 960, 5": "5 points, YuNet as it looks at no more than 960 px",
    "68 points": "68 points",
    "teacher's look, 68": "68 points, one look of PFLD",
}


def card(records: Mapping[str, Record], data: Path, labels: Path) -> Card:
    """Measure the shipped bundle."""
    path = bundle_path("faces")
    with mien_engines.open(path, "ort") as engine:
        lines = _portraits(engine, data) | _canvases(engine, data, labels)
        sheet = _sheet(engine)
    size = sum(file.stat().st_size for file in path.iterdir())
    return Card("faces: where faces are, and 68 points of each", _what(size), lines,
                _remarks(records), sheet)  # fmt: skip


def _portraits(engine: Engine, data: Path) -> dict[str, str]:
    teachers = Teachers(data, DOUBTFUL)
    lines = {}
    for folder, size in FOLDERS.items():
        found = figures(engine, teachers, data / "images" / folder)
        count = int(found["portraits"])
        lines[f"found, of {count} portraits of {size}"] = f"{found['found']:.0f}"
        lines[f"false faces in them ({size})"] = f"{found['false']:.0f}"
        for key, name in ERRORS.items():
            mean, worst = found[key], found[f"{key}, worst"]
            lines[f"{name} ({size}): mean, worst portrait"] = f"{mean:.1f} %, {worst:.1f} %"
    return lines


def _canvases(engine: Engine, data: Path, labels: Path) -> dict[str, str]:
    """Held-out faces laid on canvases: several, small, turned, blurred."""
    _, held = labelled_faces(data, labels, "five")
    compositor = Compositor(held, MIRRORED_5, [], np.random.default_rng(77))
    canvases = [compositor.draw(CANVAS) for _ in range(HELD)]
    found = matched([detect(engine, canvas.picture) for canvas in canvases], canvases)
    return {
        f"found, of the held-out faces on {HELD} canvases of {CANVAS} px": (
            f"{100 * found['found']:.1f} %"
        ),
        "false faces a canvas": f"{found['false']:.3f}",
        "5 points on the canvases: mean": f"{found['error']:.1f} %",
    }


def _sheet(engine: Engine) -> dict[str, U8]:
    """What the bundle finds in faces of the generator."""
    random = np.random.default_rng(4)
    with Studio("demo") as studio:
        alone = [studio.render(studio.sample(seed)).array for seed in ALONE]
        several = [studio.render(studio.sample(seed)).array for seed in SEVERAL]
    tiles = []
    for face in alone:
        turned = portrait(face, float(random.uniform(-25, 25)), 400, (320, 400))[80:720]
        small = cv2.resize(marked(engine, turned), (TILE, TILE), interpolation=cv2.INTER_AREA)
        tiles.append(np.asarray(small, np.uint8))
    return {
        "box and 68 points in green, the detector's 5 in red": np.stack(tiles),
        "several at once": marked(engine, _group(several, random))[None],
    }


def _group(faces: list[U8], random: np.random.Generator) -> U8:
    """Lay faces side by side, of several sizes and turned."""
    half = Backgrounds([], faces, random).draw(TILE * len(faces) // 2)[: TILE + 80]
    canvas = np.concatenate([half, half[:, ::-1]], 1)
    for i, face in enumerate(faces):
        size, degrees = int(random.uniform(90, 230)), float(random.uniform(-30, 30))
        turned = portrait(face, degrees, size, (TILE // 2, TILE // 2))[:TILE, :TILE]
        mask = np.zeros((TILE, TILE), np.float32)
        middle, axes = (TILE // 2, TILE // 2), (size * 9 // 25, size * 11 // 25)
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 1.0, -1)
        weight = cv2.GaussianBlur(mask, (0, 0), 4)[:, :, None]
        top = int(random.uniform(0, canvas.shape[0] - TILE))
        place = canvas[top : top + TILE, i * TILE : (i + 1) * TILE]
        place[:] = place + weight * (turned.astype(np.float32) - place)
    return canvas


def marked(engine: Engine, picture: U8) -> U8:
    """Draw what is found: boxes, the 68 points, the detector's five."""
    found, drawn = detect(engine, picture), np.ascontiguousarray(picture).copy()
    thick = max(1, picture.shape[0] // 320)
    for box, five in zip(found.boxes, found.five, strict=True):
        left, top, right, bottom = box.astype(int).tolist()
        cv2.rectangle(drawn, (left, top), (right, bottom), GREEN, thick)
        many = look_closer(engine, picture, box)
        eyes = np.hypot(*(many[EYES[1]].mean(0) - many[EYES[0]].mean(0)))
        for points, colour, share in ((many, GREEN, 0.02), (five, RED, 0.03)):
            for x, y in points:
                radius = max(1, round(share * eyes))
                cv2.circle(drawn, (int(x), int(y)), radius, colour, -1, cv2.LINE_AA)
    return drawn


def _what(size: int) -> str:
    return f"""\
A detector without anchors (strides 8, 16 and 32; a box and 5 points of each face), and a network
that finds 68 points in a crop of 112 px. {size / 1e6:.2f} MB together, weights in float16. Made by
this project, licensed as it is (Apache-2.0)."""


def _remarks(records: Mapping[str, Record]) -> dict[str, str]:
    steps = "; ".join(
        f"`zoo/{name}.py`, {record.step:,} steps in {record.minutes:.0f} minutes"
        for name, record in records.items()
    )
    return {
        "Figures": """\
errors are mean distances of the points, in percent of the distance of the eyes, from the mean of
  ten looks of the teacher: at five sizes, each also mirrored. One look of the teacher is itself
  some percent from that mean; these labels are no more exact.""",
        "Data": """\
synthetic faces (people who do not exist), labelled by YuNet and PFLD as they are and mirrored; the
  mean is learnt. Held-out faces give the figures on canvases. The portraits lie among the faces,
  smaller: they are left out of both.""",
        "Recipe": f"""\
{steps}; {machine("float32")}, at low priority. Faces are laid on gradients, noise, paintings and
  what surrounds other faces; turned up to 45 degrees, stretched, scaled, lit, blurred, packed as
  JPEG.""",
        "Limits": """\
frontal and half-turned faces of adults. Profiles, masks and faces upside down were not trained on.
  Skin and age are as diverse as the generated faces of the training data, which is not the world's
  diversity.""",
        "Use": "alignment. It finds faces and knows nobody.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in NETS:
        parser.add_argument(name, type=Path, help=f"run of zoo.{name}")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and weights/")
    options = parser.parse_args()
    runs = {name: getattr(options, name) for name in NETS}
    folder = HERE / "faces"
    folder.mkdir(exist_ok=True)
    for name, run in runs.items():
        shutil.copyfile(run / f"{name}.safetensors", folder / f"{name}.safetensors")
    ship("faces")
    records = {name: load(run)[0] for name, run in runs.items()}
    made = card(records, options.data, options.detector / "labels.npz")
    write_card(made, folder, options.detector / BESIDE)


if __name__ == "__main__":
    main()
