"""What an export costs: a StyleGAN2 of 1024 px and 30 million weights, random, as rosinality's .pt.

python benchmarks/export_cost.py [--resolution 1024]

Wall time and peak memory of `mien export stylegan2` as a process of its own.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from rounds import machine

from mien_export.nets.stylegan2 import Config, Generator
from zoo.publish import rosinality_from_nvlabs

sys.path.append(str(Path(__file__).parents[1] / "export"))  # the zoo is not installed

COMMAND = "import typer; from mien_export.cli import command; typer.run(command)"


def widths(resolution: int) -> tuple[int, ...]:
    """Channels of config f: 32768 / resolution of the block, at most 512."""
    blocks = int(math.log2(resolution)) - 1
    return tuple(min(512, 32_768 >> (i + 2)) for i in range(blocks))


def write_checkpoint(path: Path, resolution: int) -> int:
    """Write a random generator; returns how many weights it has."""
    torch.manual_seed(0)
    generator = Generator(Config(widths(resolution)))
    tensors = rosinality_from_nvlabs(generator.state_dict())
    torch.save({"g_ema": tensors, "latent_avg": generator.mapping.w_avg}, path)
    return sum(p.numel() for p in generator.parameters())


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a process."""
    began = time.perf_counter()
    process = os.posix_spawn(
        sys.executable, [sys.executable, "-c", COMMAND, *arguments], os.environ
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit("the export failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "random.pt"
        weights = write_checkpoint(checkpoint, options.resolution)
        bundle = Path(folder) / "bundle"
        seconds, peak = run(["stylegan2", str(checkpoint), "-o", str(bundle)])
        size = sum(p.stat().st_size for p in bundle.iterdir())
    print(machine("numpy", "torch", "onnx"))
    print(
        f"{options.resolution} px, {weights / 1e6:.1f} million weights: {seconds:.1f} s, "
        f"peak {peak:.0f} MB, bundle {size / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
