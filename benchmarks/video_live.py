"""A minute of live video: does it keep its pace, without jitter and without growing?

    python benchmarks/video_live.py --bundle adain [--backend ov-bf16] [--seconds 60]

A synthetic picture of 256 px goes through the whole pipeline of `mien webcam`: capture, AdaIN,
smoothing if asked for, JPEG for a browser. Three runs: as fast as the network draws, of 120 frames
a second that are given; the same at 25 frames a second, as a camera gives them; and with an edit
that is far too slow, which has to drop frames and to hold no more of them. Every frame is drawn:
none is skipped as still. Resident memory is read at a tenth of the time and at the end: at the very
beginning the engine has not touched all of its memory yet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rounds import machine

import mien
from mien.realtime import Discard, Report, Synthetic, run
from mien.video import FrameEdit

U8 = NDArray[np.uint8]

TARGET_FPS, TARGET_TAIL = 25.0, 1.5  # frames a second; p99 over p50
CAMERA_FPS, FULL_FPS = 25.0, 120.0
EARLY = 0.1  # of the time, when memory is read first
SLOW_S = 0.2


class Encode(Discard):
    """What a browser would get, encoded and thrown away."""

    def show(self, picture: U8) -> None:
        cv2.imencode(".jpg", picture[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, 90))


@dataclass(frozen=True)
class Row:
    """A run. Memory is resident, in MB."""

    what: str
    fps: float
    frame_p50_ms: float
    frame_p95_ms: float
    frame_p99_ms: float
    draw_p50_ms: float
    draw_p99_ms: float
    age_p50_ms: float
    age_p99_ms: float
    captured: int
    drawn: int
    dropped: int
    memory_early_mb: float
    memory_end_mb: float

    @property
    def tail(self) -> float:
        return self.frame_p99_ms / self.frame_p50_ms


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(
    what: str, edit: FrameEdit | Callable[[U8], U8], rate: float, options: argparse.Namespace
) -> Row:
    memory: list[tuple[float, float]] = []

    def look(report: Report) -> None:
        memory.append((report.seconds, resident_mb()))

    report = run(
        Synthetic(side=options.side, frames_per_second=rate),
        edit,
        Encode(),
        smoothing=options.smooth,
        still=0,
        seconds=options.seconds,
        callback=look,
        every=min(1.0, EARLY * options.seconds),
    )
    early = next(mb for at, mb in memory if at >= EARLY * options.seconds)
    frame, draw, age = report.frame_ms, report.draw_ms, report.age_ms
    return Row(
        what, report.fps, frame.p50, frame.p95, frame.p99, draw.p50, draw.p99, age.p50, age.p99,
        report.captured, report.drawn, report.dropped, early, memory[-1][1],
    )  # fmt: skip


def much_too_slow(picture: U8) -> U8:
    time.sleep(SLOW_S)
    return picture


def show(rows: list[Row]) -> None:
    print(
        "| run | fps | frame p50 / p95 / p99 ms | p99 / p50 | draw p50 / p99 ms | age p50 / p99 ms "
        "| dropped of captured | resident MB, early and at the end |"
    )
    print("| --- |" + " ---: |" * 7)
    for r in rows:
        print(
            f"| {r.what} | {r.fps:.1f} | {r.frame_p50_ms:.1f} / {r.frame_p95_ms:.1f} / "
            f"{r.frame_p99_ms:.1f} | {r.tail:.2f} | {r.draw_p50_ms:.1f} / {r.draw_p99_ms:.1f} | "
            f"{r.age_p50_ms:.1f} / {r.age_p99_ms:.1f} | {r.dropped} of {r.captured} | "
            f"{r.memory_early_mb:.0f}, {r.memory_end_mb:.0f} |"
        )


def verdict(rows: list[Row]) -> list[str]:
    """What of the targets was reached, a line each."""
    free, paced, slow = rows
    grown = max(r.memory_end_mb - r.memory_early_mb for r in rows)
    return [
        f"{free.fps:.1f} fps, wanted {TARGET_FPS:g} or more",
        f"p99 / p50 {paced.tail:.2f} at {CAMERA_FPS:g} fps and {free.tail:.2f} at full speed, "
        f"wanted {TARGET_TAIL} or less",
        f"{slow.dropped} frames dropped with an edit of {SLOW_S * 1e3:.0f} ms, "
        f"the oldest picture shown was {slow.age_p99_ms:.0f} ms old (p99)",
        f"resident memory grew by {grown:.1f} MB at most",
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", help="of family adain; unasked, mien's own")
    parser.add_argument("--backend", help="unasked, the fastest that passes")
    parser.add_argument("--style", default="mosaic")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of three runs")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--smooth", type=float, default=0.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    named = [options.bundle] if options.bundle else []
    with mien.Studio(*named, backend=options.backend, threads=options.threads) as studio:
        edit = studio.style_edit(options.style)
        picture = np.zeros((options.side, options.side, 3), np.uint8)
        for _ in range(5):  # the first calls of a size compile and allocate
            edit.draw(picture)
        backend: Any = edit.settings["backend"]
        rows = [
            measure("full speed", edit, FULL_FPS, options),
            measure(f"{CAMERA_FPS:g} fps", edit, CAMERA_FPS, options),
            measure(f"edit of {SLOW_S * 1e3:.0f} ms", much_too_slow, FULL_FPS, options),
        ]
    where = f"{machine('openvino', 'onnxruntime', 'numpy')}; backend {backend}"
    if options.json:
        print(json.dumps({"machine": where}))
        for row in rows:
            print(json.dumps(asdict(row)))
        return
    print(f"{where}\n")
    show(rows)
    print("\n" + "\n".join(verdict(rows)))


if __name__ == "__main__":
    main()
