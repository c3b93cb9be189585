"""Train the demo generator: 128 px, StyleGAN2 layout, with an encoder into its W+.

    python -m zoo.faces128 --data DATA --out RUN --minutes 90 [--start start.pt]

Reconstruction (L1 and VGG features) through the encoder, and in turn faces without a target: mixes
of two faces' codes and random codes, which an adversary judges. Stop it at will: it goes on from
RUN/state.pt. Deviations from StyleGAN2: a discriminator on frozen features, random codes drawn from
a Gaussian fitted to the encoder's (zoo.refit trains the mapping network afterwards), no path-length
term, no noise; convolutions in bfloat16.
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
from mien_export.nets.layers import EqualLinear
from mien_export.nets.stylegan2 import Generator
from zoo.faces import Batches, as_images, load_faces
from zoo.head_start import (
    CONFIG,
    ENCODER,
    components,
    encoder_from,
    generator_from,
    layer_of,
    start_codes,
)
from zoo.losses import Discriminator, Vgg19Small, augmented, feature_distance
from zoo.split import split

PUBLISHED = Path(__file__).parent / "faces128"
ENCODER_FILE = Path(__file__).parents[1] / "mien_export/weights/faces128-encoder.safetensors"

BATCH = 16
RATE, DISCRIMINATOR_RATE = 6e-4, 4e-4
ADVERSARIAL = 0.1  # weight of the adversary beside the reconstruction
UNPAIRED = 0.5  # its weight on faces that have no target
INVERSION = 0.1  # of the encoder's error on faces whose code is known
OFFSETS, SPREAD = 0.5, 1e-3  # penalties: offsets from the shared w, size of w
BANK, REFIT_EVERY = 4096, 100  # codes behind the Gaussian; steps between its fits
SAVE_EVERY = 200
EMA = 0.999


class Run:
    """Networks, their averages and optimisers: all that a checkpoint holds."""

    def __init__(self) -> None:
        self.generator, self.encoder = Generator(CONFIG), Encoder(ENCODER)
        self.discriminator = Discriminator()
        self.codes = Codes()
        self.step, self.minutes = 0, 0.0
        self.log: list[dict[str, float]] = []

    def begin(self, start: dict[str, Any], images: Tensor) -> None:
        """Take over the head start."""
        codes = start_codes(start, images)
        mean, p = components(codes)
        self.generator = generator_from(start, mean, p)
        self.encoder = encoder_from(start, mean, p)

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
        encoder = read_safetensors(ENCODER_FILE)
        self.encoder.load_state_dict({k: torch.from_numpy(v) for k, v in encoder.items()})
        fold_offsets(self.generator, self.encoder)

    def prepare(self) -> None:
        """Make averages and optimisers of the networks as they are."""
        for layer in self.generator.modules():
            if hasattr(layer, "noisy"):
                layer.noisy = False
        self.averages = copy.deepcopy(nn.ModuleList([self.generator, self.encoder])).eval()
        self.averages.requires_grad_(False)
        synthesis = list(self.generator.synthesis.parameters())
        groups = [
            {"params": synthesis, "scale": RATE},
            {"params": list(self.encoder.parameters()), "scale": RATE / 2},
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
        torch.save(
            state
            | {
                "bank": self.codes.bank,
                "step": self.step,
                "minutes": self.minutes,
                "log": self.log,
            },
            partial,
        )
        partial.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        for name in ("generator", "encoder", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        self.prepare()
        for name in ("averages", "optimiser", "adversary"):
            getattr(self, name).load_state_dict(state[name])
        self.codes.bank = state["bank"]
        self.codes.refit()
        self.step, self.minutes, self.log = state["step"], state["minutes"], state["log"]


class Codes:
    """The latest codes of faces, and the Gaussian fitted to them."""

    def __init__(self) -> None:
        self.bank = torch.zeros(0, CONFIG.w_dim)
        self.mean, self.factor = torch.zeros(CONFIG.w_dim), torch.eye(CONFIG.w_dim)

    def add(self, w: Tensor) -> None:
        self.bank = torch.cat([self.bank, w.detach()])[-BANK:]

    def refit(self) -> None:
        self.mean = self.bank.mean(0)
        values, axes = torch.linalg.eigh(torch.cov(self.bank.t()))
        self.factor = axes * values.clamp_min(0).sqrt()

    def sample(self, count: int) -> Tensor:  # [count, w_dim]
        return self.mean + torch.randn(count, CONFIG.w_dim) @ self.factor.t()


@torch.no_grad()
def fold_offsets(generator: Generator, encoder: Encoder) -> None:
    """Move the offsets that all faces share into the affine layers: w alone is then a face.

    A layer's affine reads w + offset; the constant part of the offset becomes part of its bias.
    """
    constant = encoder.offset_out.bias.unflatten(0, (CONFIG.num_ws, CONFIG.w_dim))
    for name, layer in generator.named_modules():
        if name.endswith("affine"):
            assert isinstance(layer, EqualLinear)
            code = constant[layer_of(name)]
            layer.bias += (layer(code) - layer(torch.zeros_like(code))) / layer.lr
    encoder.offset_out.bias.zero_()


def reconstruction(run: Run, features: Vgg19Small, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of reconstructing real, and the reconstructions."""
    with torch.autocast("cpu", torch.bfloat16):
        w, offsets = run.encoder.codes(real.contiguous(memory_format=torch.channels_last))
    w, offsets = w.float(), offsets.float()
    run.codes.add(w)
    fake = run.generator.synthesis(w.unsqueeze(1) + offsets, dtype=torch.bfloat16)
    with torch.no_grad():
        wanted = features(real)
    loss = 2 * F.l1_loss(fake, real) + 0.5 * feature_distance(features(fake), wanted)
    return loss + OFFSETS * offsets.square().mean() + SPREAD * w.square().mean(), fake


def unpaired(run: Run) -> tuple[Tensor, Tensor]:
    """Faces without a target: mixes of the bank's codes, and random codes.

    It is what the product does with codes, so the adversary sees it in training. The encoder must
    find the random codes again: that keeps their faces different from each other.
    Returns the encoder's error, and the faces.
    """
    half = BATCH // 2
    layers = torch.arange(CONFIG.num_ws)[None, :, None]
    pair = run.codes.bank[torch.randint(len(run.codes.bank), (2, half))]
    low, high = sorted(torch.randint(0, CONFIG.num_ws + 1, (2,)).tolist())
    mixed = torch.where((layers >= low) & (layers < high), pair[1, :, None], pair[0, :, None])
    random = run.codes.sample(BATCH - half)
    ws = torch.cat([mixed, random[:, None].expand(-1, CONFIG.num_ws, -1)])
    fake = run.generator.synthesis(ws, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = run.encoder.codes(fake[half:].contiguous(memory_format=torch.channels_last))
    error = (found.float() - random).square().mean() / run.codes.factor.square().sum(1).mean()
    return error, fake


def train_step(run: Run, features: Vgg19Small, batches: Batches, share: float) -> float:
    """One step of generator and encoder, one of the discriminator. share: of the time, gone.

    Returns the loss of the reconstruction; NaN in every second step, which has none.
    """
    decay = 1.0 if share < 0.6 else max(0.02, (1 - share) / 0.4)
    for group in run.optimiser.param_groups:
        group["lr"] = group["scale"] * decay * min(1.0, (run.step + 1) / 100)
    real = next(batches)
    paired = run.step % 2 == 0 or len(run.codes.bank) < BANK // 4
    if paired:
        loss, fake = reconstruction(run, features, real)
        total, weight = loss, ADVERSARIAL
    else:
        error, fake = unpaired(run)
        total, weight = INVERSION * error, UNPAIRED
    if run.step % REFIT_EVERY == 0:
        run.codes.refit()
    run.discriminator.requires_grad_(False)
    judged = run.discriminator(features(augmented(fake)))
    weight *= min(1.0, run.step / 1000)
    run.optimiser.zero_grad()
    (total - weight * judged.mean()).backward()
    parameters = [p for group in run.optimiser.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 5.0)
    run.optimiser.step()
    run.discriminator.requires_grad_(True)
    train_discriminator(run, features, real, fake.detach())
    run.average()
    run.step += 1
    return float(loss.detach()) if paired else float("nan")


def train_discriminator(run: Run, features: Vgg19Small, real: Tensor, fake: Tensor) -> None:
    """One step with the hinge loss."""
    with torch.no_grad():
        pair = [features(augmented(images)) for images in (real, fake)]
        if run.step == 0:
            run.discriminator.calibrate(pair[0])
    on_real, on_fake = (run.discriminator(maps) for maps in pair)
    loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
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
            if not math.isnan(loss):
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
