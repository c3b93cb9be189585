"""The same runs on a local Ray, of which an actor is killed midway."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.scale.plans import OPTIONS, files, pictures
from tests.video.films import Film, Sound, heard, make, times

from mien.bundles import BUILT_IN
from mien.scale import run
from mien.video.convert import SEGMENT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(not (BUILT_IN / "adain").is_dir(), reason="the adain bundle is not built"),
]
ROOT = Path(__file__).parents[2]
FOLDERS = [str(ROOT), *(str(ROOT / name) for name in ("sdk", "engines"))]
FRAMES = 2 * SEGMENT + 7

# A process of its own: Ray's own processes end with it, whatever becomes of the test.
SCRIPT = """
import contextlib, json, sys
import psutil
from mien.scale import run

killed = []

def kill_one(done):
    if killed or done.done < 2:
        return
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # some end by themselves
            if "ray::MapWorker" in " ".join(process.cmdline()):
                process.kill()
                killed.append(process.pid)
                return

source, output, options = sys.argv[1:]
report = run("stylize", source, output, options=json.loads(options), workers=2, piece=48,
             cpus=1, callback=kill_one)
print(json.dumps(report.record() | {"killed": killed}))
"""


def test_with_an_actor_killed_every_output_is_there_once_and_the_same(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 12)
    film = make(
        source / "film.mp4",
        Film(pts=range(0, 1001 * FRAMES, 1001), sounds=[Sound(blocks=100)]),
    )
    (source / "bad.jpg").write_bytes(b"no picture")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(FOLDERS),
        "RAY_worker_niceness": "0",  # else everything else on a busy machine comes before them
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(tmp_path / "ray"), json.dumps(OPTIONS)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(done.stdout.splitlines()[-1])
    assert len(record["killed"]) == 1, "no actor was there to be killed"
    assert record["done"] + record["kept"] == 13
    assert [failed["name"] for failed in record["failed"]] == ["bad"]
    alone = run(
        "stylize", source, tmp_path / "alone", options=OPTIONS, workers=1, local=True, piece=SEGMENT
    )
    assert alone.done == 13
    for kind in ("objects", "results"):
        assert files(tmp_path / "ray" / kind) == files(tmp_path / "alone" / kind)
    joined = tmp_path / "ray" / "results" / "film.mp4"
    assert times(joined) == times(film)
    assert heard(joined) == heard(film)
