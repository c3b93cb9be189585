"""The zoo's scripts train, keep what they reached, go on from it, and write what export reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mien_export.export import export

ROOT = Path(__file__).parents[2]
# Script -> the checkpoint it writes, and the family that reads it.
SCRIPTS = {
    "faces128": None,
    "vaegan": ("vaegan.safetensors", "vaegan"),
    "vgg": ("vgg.safetensors", "vgg"),
    "adain": ("adain.safetensors", "adain"),
    "embedder": ("embedder.safetensors", "arcface"),
    "starganv2": ("nets_ema.ckpt", "starganv2"),
    "lookalike": ("lookalike.safetensors", "lookalike"),
    "detector": ("detector.safetensors", "faces"),
    "landmarks": ("landmarks.safetensors", "faces"),
}
OPTIONS = {"adain": ["--encoder", str(ROOT / "export/zoo/vgg/vgg.safetensors")]}
HALF = 0.5  # minutes, before and after the interruption


def train(script: str, shared: Path, out: Path, minutes: float) -> dict[str, float]:
    command = [sys.executable, "-m", f"zoo.{script}", "--data", str(shared / "data")]
    done = subprocess.run(
        [*command, "--out", str(out), "--minutes", str(minutes), *OPTIONS.get(script, [])],
        cwd=ROOT / "export",
        env={"PYTHONPATH": f"{ROOT / 'export'}:{ROOT / 'engines'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    record: dict[str, float] = torch.load(out / "state.pt", weights_only=True)["record"]
    return record


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_trains_and_goes_on(script: str, shared: Path, tmp_path: Path) -> None:
    first = train(script, shared, tmp_path / "run", HALF)
    # A step may take long on a busy machine: the second half begins where the first one ended.
    whole = first["minutes"] + HALF
    second = train(script, shared, tmp_path / "run", whole)
    assert 0 < first["step"] < second["step"]
    assert first["minutes"] >= HALF
    assert second["minutes"] >= whole
    written = SCRIPTS[script]
    if written is not None:
        file, family = written
        export(family, tmp_path / "run" / file, tmp_path / "bundle")
