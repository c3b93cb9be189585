"""What the presets of a projection reach, and in what time, on photographs.

    PYTHONPATH=export python benchmarks/projection_presets.py --data DATA
    ... --presets defaults --backends ort ov ov-bf16

DATA holds the portraits (images/portraits1024), a YuNet detector, SqueezeNet's weights with the
heads of LPIPS, and a recognition network. None of the four is what the search minimises, except
that MS-SSIM is a term of some presets. Presets and backends take turns at each face; seconds are
processor time of the one thread that a backend has, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
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
BESIDE = "faithful"  # whose time, on the first backend, the ratio is of

Contestant = tuple[str, str]  # preset, backend
Metric = Callable[[Tensor, Tensor], Tensor]  # found, target [1, 3, H, W] in [-1, 1] -> a number


@dataclass(frozen=True)
class Row:
    """Means over the faces. ratio: of the time of BESIDE to this one's."""

    preset: str
    backend: str
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
def measure(
    studios: Mapping[str, Studio], data: Path, presets: Sequence[str], photos: list[Path]
) -> list[Row]:
    first = next(iter(studios.values()))
    measures = metrics(first, data)
    who = [(preset, backend) for preset in presets for backend in studios]
    seconds: dict[Contestant, list[float]] = {one: [] for one in who}
    values: dict[Contestant, list[dict[str, float]]] = {one: [] for one in who}
    for i, photo in enumerate(photos):
        face = first.align(photo, which="largest").image
        target = from_uint8(torch.from_numpy(face.copy())[None])
        turn = i % len(who)
        for one in [*who[turn:], *who[:turn]]:
            studio = studios[one[1]]
            began = time.process_time()
            found = studio.project(face, named(one[0]))
            seconds[one].append(time.process_time() - began)
            picture = picture_of(studio, found)
            values[one].append({n: float(f(picture, target)) for n, f in measures.items()})
            print(photo.stem, *one, f"{seconds[one][-1]:.2f} s, {values[one][-1]}", flush=True)
    preset = BESIDE if BESIDE in presets else presets[0]
    beside = np.mean(seconds[preset, who[0][1]])
    return [
        Row(
            *one,
            settings_of(named(one[0])).steps,
            len(photos),
            float(np.mean(seconds[one])),
            float(beside / np.mean(seconds[one])),
            **{n: float(np.mean([value[n] for value in values[one]])) for n in measures},
        )
        for one in who
    ]


def named(preset: str) -> str | None:
    return None if preset == DEFAULTS else preset


def warm_up(studio: Studio, presets: Sequence[str]) -> None:
    """Open and compile every graph before anything is timed."""
    face = studio.render(studio.sample(0))
    for preset in presets:
        studio.project(face, settings_of(named(preset), steps=2))


def show(rows: list[Row]) -> None:
    titles = (
        "preset",
        "backend",
        "steps",
        "faces",
        "seconds",
        "times as fast",
        "perceptual",
        "LPIPS",
    )
    print("\n| " + " | ".join((*titles, "MS-SSIM", "identity")) + " |")
    print("| --- | --- |" + " ---: |" * 8)
    for r in rows:
        times = f"{r.steps} | {r.faces} | {r.seconds:.2f} | {r.ratio:.2f}"
        figures = f"{r.perceptual:.4f} | {r.lpips:.4f} | {r.ms_ssim:.4f} | {r.identity:.3f}"
        print(f"| {r.preset} | {r.backend} | {times} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="demo")
    parser.add_argument("--backends", nargs="+", default=["ov"], metavar="BACKEND")
    parser.add_argument("--presets", nargs="+", default=[*PRESETS, DEFAULTS])
    parser.add_argument("--faces", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted((options.data / "images/portraits1024").glob("*.jpg"))[: options.faces]
    detector = options.data / DETECTOR
    with ExitStack() as stack:
        studios = {
            name: stack.enter_context(
                Studio(options.bundle, backend=name, detector=detector, threads=1)
            )
            for name in options.backends
        }
        for studio in studios.values():
            warm_up(studio, options.presets)
        rows = measure(studios, options.data, options.presets, photos)
    print(machine("onnxruntime", "openvino", "torch"))
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row)))
    else:
        show(rows)


if __name__ == "__main__":
    main()
