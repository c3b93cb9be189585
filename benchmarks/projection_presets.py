"""What the presets of a projection reach, and in what time, on photographs.

    PYTHONPATH=export python benchmarks/projection_presets.py --data DATA

DATA holds the portraits (images/portraits1024), a YuNet detector, SqueezeNet's weights with the
heads of LPIPS, and a recognition network. None of the four is what the search minimises, except
that MS-SSIM is a term of some presets. The presets take turns at each face; seconds are processor
time of the one thread that a backend has, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import calm  # noqa: F401
import numpy as np
import torch
from numpy.typing import NDArray
from rounds import machine
from torch import Tensor

from mien.edits.presets import PRESETS, settings_of
from mien.edits.project import Projection
from mien.studio import Studio
from mien_export.checkpoints.arcface import read_arcface
from mien_export.families.arcface import framing, network
from mien_export.nets.pictures import from_uint8
from mien_export.nets.recogniser import Recogniser
from mien_export.steps.terms import MsSsim
from zoo.metrics import distances, squeeze_lpips

DETECTOR = "weights/face_det/yunet_n_dynamic.onnx"
RECOGNISER = "weights/face_embed/foamliu_mobilefacenet.pt"
DEFAULTS = "defaults"
BESIDE = "faithful"  # whose time the ratio is of

Metric = Callable[[Tensor, Tensor], Tensor]  # found, target [1, 3, H, W] in [-1, 1] -> a number


@dataclass(frozen=True)
class Row:
    """Means over the faces. ratio: of the time of BESIDE to this one's."""

    preset: str
    steps: int
    faces: int
    seconds: float
    ratio: float
    perceptual: float
    lpips: float
    ms_ssim: float
    identity: float


def metrics(studio: Studio, data: Path) -> dict[str, Metric]:
    """The measures of a found picture beside its target, by their names in a row."""
    lpips = squeeze_lpips(data)
    ms_ssim = MsSsim(studio.resolution)
    net = network(read_arcface(data / RECOGNISER))
    recogniser = Recogniser(net, framing(net, studio.resolution)).eval()

    def perceptual(found: Tensor, target: Tensor) -> Tensor:
        """The bundle's own term."""
        pairs = zip(_features(studio, found), _features(studio, target), strict=True)
        return torch.tensor(sum(np.square(a - b).sum(1).mean() for a, b in pairs))

    return {
        "perceptual": perceptual,
        "lpips": lambda found, target: distances(lpips, found, target),
        "ms_ssim": ms_ssim,
        "identity": lambda found, target: (recogniser(found) * recogniser(target)).sum(),
    }


def _features(studio: Studio, image: Tensor) -> list[NDArray[np.float32]]:
    picture = ((image + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    outputs = studio.engine.run("project_target", picture=picture)
    return [array for name, array in outputs.items() if name != "target"]


def picture_of(studio: Studio, found: Projection) -> Tensor:
    """The found picture, with noise maps of its own where the search had some."""
    picture = found.picture or studio.render(found)
    return from_uint8(torch.from_numpy(picture.array.copy())[None])


@torch.no_grad()
def measure(studio: Studio, data: Path, names: Sequence[str], photos: list[Path]) -> list[Row]:
    measures = metrics(studio, data)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    values: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for i, photo in enumerate(photos):
        face = studio.align(photo, which="largest").image
        target = from_uint8(torch.from_numpy(face.copy())[None])
        first = i % len(names)
        for name in [*names[first:], *names[:first]]:
            began = time.process_time()
            found = studio.project(face, None if name == DEFAULTS else name)
            seconds[name].append(time.process_time() - began)
            picture = picture_of(studio, found)
            values[name].append({n: float(f(picture, target)) for n, f in measures.items()})
            print(f"{photo.stem} {name}: {seconds[name][-1]:.2f} s, {values[name][-1]}", flush=True)
    beside = np.mean(seconds[BESIDE if BESIDE in names else names[0]])
    return [
        Row(
            name,
            settings_of(None if name == DEFAULTS else name).steps,
            len(photos),
            float(np.mean(seconds[name])),
            float(beside / np.mean(seconds[name])),
            **{n: float(np.mean([one[n] for one in values[name]])) for n in measures},
        )
        for name in names
    ]


def warm_up(studio: Studio, names: Sequence[str]) -> None:
    """Open and compile every graph before anything is timed."""
    face = studio.render(studio.sample(0))
    for name in names:
        studio.project(face, settings_of(None if name == DEFAULTS else name, steps=2))


def show(rows: list[Row]) -> None:
    titles = ("preset", "steps", "faces", "seconds", "times as fast", "perceptual", "LPIPS")
    print("\n| " + " | ".join((*titles, "MS-SSIM", "identity")) + " |")
    print("| --- |" + " ---: |" * 8)
    for r in rows:
        times = f"{r.steps} | {r.faces} | {r.seconds:.2f} | {r.ratio:.2f}"
        figures = f"{r.perceptual:.4f} | {r.lpips:.4f} | {r.ms_ssim:.4f} | {r.identity:.3f}"
        print(f"| {r.preset} | {times} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="demo")
    parser.add_argument("--backend", default="ov")
    parser.add_argument("--presets", nargs="+", default=[*PRESETS, DEFAULTS])
    parser.add_argument("--faces", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted((options.data / "images/portraits1024").glob("*.jpg"))[: options.faces]
    detector = options.data / DETECTOR
    with Studio(options.bundle, backend=options.backend, detector=detector, threads=1) as studio:
        warm_up(studio, options.presets)
        rows = measure(studio, options.data, options.presets, photos)
    print(machine("onnxruntime", "openvino", "torch"), f"backend {options.backend}")
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row)))
    else:
        show(rows)


if __name__ == "__main__":
    main()
