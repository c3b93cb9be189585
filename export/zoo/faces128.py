"""Train the demo generator: 128 px, StyleGAN2 layout, with an encoder into its W+.

    python -m zoo.faces128 --data DATA --out RUN --minutes 90 [--start start.pt]

Reconstruction (L1 and VGG features) through the encoder, and an adversary that sees
reconstructions and mixes of codes in turn. Stop it at will: it goes on from RUN/state.pt.
Deviations from StyleGAN2: spectral normalisation instead of equalised rates in the discriminator,
no path-length term, no noise; convolutions in bfloat16.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

from mien_export.checkpoints import read_safetensors, read_stylegan2
from mien_export.nets.encoder import Encoder
from mien_export.nets.stylegan2 import Generator
from zoo.faces import Batches, as_images, load_faces
from zoo.head_start import (
    CONFIG,
    ENCODER,
    components,
    encoder_from,
    fit_mapping,
    generator_from,
    start_codes,
)
from zoo.losses import Discriminator, Vgg19Small, feature_distance, r1_penalty
from zoo.split import split

PUBLISHED = Path(__file__).parent / "faces128"
ENCODER_FILE = Path(__file__).parents[1] / "mien_export/weights/faces128-encoder.safetensors"

BATCH = 16
RATE, DISCRIMINATOR_RATE, MAPPING_RATE = 1e-3, 1e-3, 0.02
ADVERSARIAL = 0.08  # weight of the adversary beside the reconstruction
UNPAIRED = 0.12  # its weight on faces that have no target
OFFSETS, SPREAD = 0.02, 1e-3  # penalties: offsets from the shared w, size of w
R1, R1_EVERY = 1.0, 16
MIX_EVERY = 3  # each third step trains on mixes
SAVE_EVERY = 200
EMA = 0.998


class Run:
    """Networks, their averages and optimisers: all that a checkpoint holds."""

    def __init__(self) -> None:
        self.generator, self.encoder = Generator(CONFIG), Encoder(ENCODER)
        self.discriminator = Discriminator()
        self.step, self.minutes = 0, 0.0
        self.log: list[dict[str, float]] = []

    def begin(self, start: dict[str, Any], images: Tensor) -> None:
        """Take over the head start."""
        codes = start_codes(start, images)
        mean, p = components(codes)
        self.generator = generator_from(start, mean, p)
        self.encoder = encoder_from(start, mean, p)
        u = (codes.flatten(1) - mean) @ (p / p.square().sum(0))
        fit_mapping(self.generator, u)

    def begin_published(self) -> None:
        """Take over the networks that are in the repository; optimisers begin anew."""
        tensors = read_stylegan2(PUBLISHED / "generator.pt").tensors
        state = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
        for name, value in state.items():
            if name.endswith(("conv0.weight", "conv1.weight")):
                # The reader folds rosinality's 1 / sqrt(fan_in) in; training steps are sized
                # for kernels of unit variance.
                state[name] = value * math.sqrt(value[0].numel())
        self.generator.load_state_dict(state, strict=False)
        for network, path in (
            (self.encoder, ENCODER_FILE),
            (self.discriminator, PUBLISHED / "discriminator.safetensors"),
        ):
            network.load_state_dict(
                {k: torch.from_numpy(v) for k, v in read_safetensors(path).items()}
            )

    def prepare(self) -> None:
        """Make averages and optimisers of the networks as they are."""
        for layer in self.generator.modules():
            if hasattr(layer, "noisy"):
                layer.noisy = False
        self.averages = copy.deepcopy(nn.ModuleList([self.generator, self.encoder])).eval()
        self.averages.requires_grad_(False)
        mapping = list(self.generator.mapping.parameters())
        synthesis = list(self.generator.synthesis.parameters())
        groups = [
            {"params": synthesis, "scale": RATE},
            {"params": list(self.encoder.parameters()), "scale": RATE / 2},
            {"params": mapping, "scale": MAPPING_RATE},
        ]
        self.optimiser = torch.optim.Adam(groups, RATE, (0.5, 0.99))
        self.adversary = torch.optim.Adam(
            self.discriminator.parameters(), DISCRIMINATOR_RATE, (0.0, 0.99)
        )

    def average(self) -> None:
        """Move the averages towards the networks."""
        decay = min(EMA, (self.step + 1) / (self.step + 20))
        current = nn.ModuleList([self.generator, self.encoder]).state_dict()
        for name, kept in self.averages.state_dict().items():
            kept.lerp_(current[name], 1 - decay)

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".part")
        names = ("generator", "encoder", "discriminator", "averages", "optimiser", "adversary")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in names}
        torch.save(state | {"step": self.step, "minutes": self.minutes, "log": self.log}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        for name in ("generator", "encoder", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        self.prepare()
        for name in ("averages", "optimiser", "adversary"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.minutes, self.log = state["step"], state["minutes"], state["log"]


def reconstruction_loss(run: Run, features: Vgg19Small, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of reconstructing real, and the reconstructions."""
    with torch.autocast("cpu", torch.bfloat16):
        w, offsets = run.encoder.codes(real.contiguous(memory_format=torch.channels_last))
    w, offsets = w.float(), offsets.float()
    fake = run.generator.synthesis(w.unsqueeze(1) + offsets, dtype=torch.bfloat16)
    with torch.no_grad():
        wanted = features(real)
    loss = 2 * F.l1_loss(fake, real) + 0.5 * feature_distance(features(fake), wanted)
    return loss + OFFSETS * offsets.square().mean() + SPREAD * w.square().mean(), fake


def mixes(run: Run, real: Tensor) -> Tensor:
    """Faces without a target: codes of real ones, with a range of layers from another.

    It is what the product does with codes, so the adversary sees it in training. Random samples
    are left out: their adversary drove the mapping away from the codes, and zoo.refit makes it.
    """
    layers = torch.arange(CONFIG.num_ws)[None, :, None]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ws = run.encoder(real.contiguous(memory_format=torch.channels_last)).float()
    low, high = sorted(torch.randint(0, CONFIG.num_ws + 1, (2,)).tolist())
    mixed = torch.where((layers >= low) & (layers < high), ws.roll(1, 0), ws)
    return run.generator.synthesis(mixed, dtype=torch.bfloat16)


def train_step(run: Run, features: Vgg19Small, batches: Batches, share: float) -> float:
    """One step of generator and encoder, one of the discriminator. share: of the time, gone."""
    decay = 1.0 if share < 0.7 else max(0.05, (1 - share) / 0.3)
    for group in run.optimiser.param_groups:
        group["lr"] = group["scale"] * decay * min(1.0, (run.step + 1) / 100)
    real = next(batches)
    if run.step % MIX_EVERY == MIX_EVERY - 1:
        fake = mixes(run, real)
        loss, weight = torch.zeros(()), UNPAIRED
    else:
        loss, fake = reconstruction_loss(run, features, real)
        weight = ADVERSARIAL
    weight *= min(1.0, run.step / 1000)
    with torch.autocast("cpu", torch.bfloat16):
        adversarial = F.softplus(-run.discriminator(fake)).float().mean()
    run.optimiser.zero_grad()
    (loss + weight * adversarial).backward()
    parameters = [*run.generator.parameters(), *run.encoder.parameters()]
    nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 5.0)
    run.optimiser.step()
    _train_discriminator(run, real, fake.detach())
    run.average()
    run.step += 1
    return float(loss.detach())


def _train_discriminator(run: Run, real: Tensor, fake: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = (F.softplus(-run.discriminator(real)) + F.softplus(run.discriminator(fake))).mean()
    loss = loss.float()
    if run.step % R1_EVERY == 0:
        loss = loss + R1 / 2 * R1_EVERY * r1_penalty(run.discriminator, real[: BATCH // 2])
    run.adversary.zero_grad()
    loss.backward()
    run.adversary.step()


@torch.no_grad()
def held_out_psnr(run: Run, held: Tensor) -> float:
    """PSNR in dB of the averaged networks' reconstructions of faces they never saw."""
    generator, encoder = run.averages
    errors = [
        F.mse_loss(generator.synthesis(encoder(x)).clamp(-1, 1), x, reduction="none").mean(
            (1, 2, 3)
        )
        for x in held.split(50)
    ]
    return 10 * math.log10(4 / float(torch.cat(errors).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and weights/")
    parser.add_argument(
        "--start", type=Path, help="the 64 px head start; without it, the published networks"
    )
    parser.add_argument("--out", type=Path, required=True, help="where the run is kept")
    parser.add_argument("--minutes", type=float, default=90, help="in all, over all resumptions")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(2)
    faces = load_faces(options.data, CONFIG.resolution)
    train, held = split(len(faces))
    held_images = as_images(faces[held])
    run, kept = Run(), options.out / "state.pt"
    if kept.exists():
        run.load(kept)
    elif options.start is None:
        run.begin_published()
        run.prepare()
    else:
        start = torch.load(options.start, weights_only=True)
        run.begin(start, as_images(faces[train]))
        run.prepare()
    features = Vgg19Small(options.data / "weights/vgg19_16x/5SE.pth")
    _loop(run, features, Batches(faces[train], BATCH, seed=run.step), held_images, options)


def _loop(
    run: Run, features: Vgg19Small, batches: Batches, held: Tensor, options: argparse.Namespace
) -> None:
    before, began, mean_loss = run.minutes, time.time(), float("nan")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=options.minutes)
        while run.minutes < options.minutes:
            loss = train_step(run, features, batches, run.minutes / options.minutes)
            if loss:
                mean_loss = loss if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * loss
            run.minutes = before + (time.time() - began) / 60
            text = f"step {run.step}, loss {mean_loss:.3f}"
            bar.update(task, completed=run.minutes, description=text)
            if run.step % SAVE_EVERY == 0:
                psnr = held_out_psnr(run, held)
                run.log.append({"step": run.step, "loss": mean_loss, "psnr": psnr})
                console.print(f"{run.minutes:6.1f} min, {text}, held out {psnr:.2f} dB")
                run.save(options.out / "state.pt")
    run.save(options.out / "state.pt")


if __name__ == "__main__":
    main()
