"""What a picture of `mien scale stylize` takes of a core, part by part, for docs/scale.md.

    python benchmarks/scale_parts.py

Processor time of one thread, medians; the machine may be loaded. Pictures are drawn by the demo's
generator, enlarged, with a little noise, so that files have the size of photographs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mien
from mien.bundles import style_path
from mien.images import load, save
from mien.provenance import digest
from mien.scale.items import Item
from mien.scale.plan import Plan, Result, Task
from mien.scale.run import _Course
from mien.scale.store import Store
from mien.scale.worker import Worker

NOISE = 4  # levels
RESULTS = 3000  # that are noted


def timed(what: Callable[[], Any], rounds: int) -> float:
    """Median ms of processor time."""
    took = []
    for _ in range(rounds):
        began = time.process_time()
        what()
        took.append(1000 * (time.process_time() - began))
    return statistics.median(took)


def parts(studio: mien.Studio, folder: Path, side: int, rounds: int) -> dict[str, float]:
    face = Image.fromarray(studio.render(studio.sample(3)).array).resize((side, side))
    noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, (side, side, 3))
    pixels = (np.asarray(face).astype(int) + noise).clip(0, 255).astype(np.uint8)
    photo = save(pixels, folder / f"{side}.jpg")
    style = load(style_path("mosaic"))
    plain, matched = (studio.style_edit(style, match_colour=share) for share in (0.0, 1.0))
    drawn = matched.draw(pixels)
    network = timed(lambda: plain.draw(pixels), rounds)
    times = {
        "SHA-256 of the file": timed(lambda: digest(photo), rounds),
        "decode JPEG": timed(lambda: load(photo), rounds),
        "encode the style": timed(lambda: studio.style_edit(style), rounds),
        "network": network,
        "match colours": timed(lambda: matched.draw(pixels), rounds) - network,
    }
    for suffix in (".png", ".jpg"):
        target = folder / f"drawn{suffix}"
        times[f"write {suffix}"] = timed(lambda path=target: save(drawn, path), rounds)  # type: ignore[misc]
        times[f"kB of {suffix}"] = target.stat().st_size / 1000
    return times | {"kB of the photograph": photo.stat().st_size / 1000}


def noting(folder: Path) -> float:
    """ms of the process that began a run, for each result."""

    def execute(tasks: Sequence[Task]) -> Iterator[Result]:
        return (Result(task, "done", "me", address="ab", suffix=".png") for task in tasks)

    plan = Plan("stylize", {}, str(folder), ".png")
    course = _Course(Store(folder), execute, Worker(plan), None, None)
    items = [Item(f"{number}", {"content": "a.jpg"}) for number in range(RESULTS)]
    return timed(lambda: course.go(items), 1) / RESULTS


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=9)
    rounds = arguments.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as name,
        mien.Studio("demo", backend="ort", threads=1) as studio,
    ):
        columns = [parts(studio, Path(name), side, rounds) for side in (256, 1024)]
        for what in columns[0]:
            print(f"| {what} | {columns[0][what]:.1f} | {columns[1][what]:.1f} |")
        print(f"| noting a result | {noting(Path(name)):.4f} | |")


if __name__ == "__main__":
    main()
