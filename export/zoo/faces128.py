"""Train the demo generator: 128 px, StyleGAN2 layout, with an encoder into its W+.

    python -m zoo.faces128 --data DATA --out RUN --minutes 90 [--start start.pt]

Reconstruction (L1 and VGG features) through the encoder, and in turn mixes of two faces' codes,
whose colours and structure are known. A weak adversary judges both. Stop it at will: it goes on
from RUN/state.pt. Deviations from StyleGAN2: a discriminator on frozen features, which never sees
random codes (it drove them to caricatures; zoo.refit trains the mapping network afterwards), no
path-length term, no noise; convolutions in bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.checkpoints import read_safetensors, read_stylegan2
from mien_export.nets.encoder import Encoder
from mien_export.nets.layers import EqualLinear
from mien_export.nets.stylegan2 import Generator
from zoo.adversary import Adversary
from zoo.averages import Averages
from zoo.faces import Batches, as_images, learnt_and_held, load_faces
from zoo.head_start import (
    CONFIG,
    ENCODER,
    components,
    encoder_from,
    generator_from,
    layer_of,
    start_codes,
)
from zoo.losses import Vgg19Small, feature_distance
from zoo.training import Training, arguments, load, train

PUBLISHED = Path(__file__).parent / "faces128"
ENCODER_FILE = Path(__file__).parents[1] / "mien_export/weights/faces128-encoder.safetensors"

BATCH = 16
RATE = 4e-4
ADVERSARIAL, MIXED = 0.05, 0.1  # weights of the adversary on reconstructions and on mixes
OFFSETS, SPREAD = 0.5, 1e-3  # penalties: offsets from the shared w, size of w
COLOUR, STRUCTURE = 5.0, 0.5  # weights of what is known of a mix
FOLDED = 1000  # faces whose mean offset is folded
FACE = slice(44, 108), slice(38, 90)  # px, rows and columns
COARSE, FINE = 2, 9  # the layers whose face gives structure, and colours


class Networks(nn.Module):
    """What the run is for."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.encoder = Generator(CONFIG), Encoder(ENCODER)
        for layer in self.generator.modules():
            if hasattr(layer, "noisy"):
                layer.noisy = False


class Faces128(Training):
    """Generator and encoder, their adversary, the bank of codes, and the faces.

    start: the 64 px head start; None goes on from the published networks.
    """

    def __init__(self, data: Path, start: Path | None = None) -> None:
        faces = load_faces(data, CONFIG.resolution)
        learnt, held = learnt_and_held(data)
        self.held, self.faces = as_images(faces[held]), faces[learnt]
        self.features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
        self.start = start

    def begin(self) -> None:
        self.net = Networks() if self.start is None else self._started(self.start)
        if self.start is None:
            _fill_published(self.net)
            fold_offsets(self.net.generator, self.net.encoder, as_images(self.faces[:FOLDED]))
        self._prepare()

    def _started(self, path: Path) -> Networks:
        start = torch.load(path, weights_only=True)
        mean, p = components(start_codes(start, as_images(self.faces)))
        net = Networks()
        net.generator.load_state_dict(generator_from(start, mean, p).state_dict())
        net.encoder.load_state_dict(encoder_from(start, mean, p).state_dict())
        return net

    def _prepare(self, seed: int = 0) -> None:
        self.batches = Batches(self.faces, BATCH, seed=seed)
        self.averages = Averages(self.net)
        groups = [
            {"params": list(self.net.generator.synthesis.parameters()), "scale": RATE},
            {"params": list(self.net.encoder.parameters()), "scale": RATE / 2},
        ]
        self.parameters = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
        self.optimiser = torch.optim.Adam(groups, RATE, (0.5, 0.99))
        self.adversary = Adversary(self.features)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        decay = 1.0 if share < 0.6 else max(0.02, (1 - share) / 0.4)
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * decay * min(1.0, (step + 1) / 100)
        real = next(self.batches)
        if step % 2 == 0:
            name, (loss, fake), weight = "reconstruction", self._reconstruction(real), ADVERSARIAL
        else:
            name, (loss, fake), weight = "mixes", self._mixes(real), MIXED
        self.optimiser.zero_grad()
        (loss + weight * self.adversary.loss(fake, step)).backward()
        nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], 5.0)
        self.optimiser.step()
        self.adversary.learn(real, fake, step)
        self.averages.follow(self.net, step)
        return {name: float(loss.detach())}

    def _reconstruction(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of reconstructing real, and the reconstructions."""
        with torch.autocast("cpu", torch.bfloat16):
            w, offsets = self.net.encoder.codes(_laid_out(real))
        w, offsets = w.float(), offsets.float()
        fake = self.net.generator.synthesis(w.unsqueeze(1) + offsets, dtype=torch.bfloat16)
        with torch.no_grad():
            wanted = self.features(real)
        loss = 2 * F.l1_loss(fake, real) + 0.5 * feature_distance(self.features(fake), wanted)
        return loss + OFFSETS * offsets.square().mean() + SPREAD * w.square().mean(), fake

    def _mixes(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes of two faces' codes, which have no target, but are what the product draws.

        Two things are known of a mix: the face that gives the fine layers gives the colours, and
        the face that gives the coarse ones gives the structure. Returns the loss, and the mixes.
        """
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            ws = self.net.encoder(_laid_out(real)).float()
        low, high = sorted(torch.randint(0, CONFIG.num_ws + 1, (2,)).tolist())
        layers = torch.arange(CONFIG.num_ws)[None, :, None]
        mixed = torch.where((layers >= low) & (layers < high), ws.roll(1, 0), ws)
        fake = self.net.generator.synthesis(mixed, dtype=torch.bfloat16)
        coarse, fine = (real.roll(1, 0) if low <= i < high else real for i in (COARSE, FINE))
        colour = F.l1_loss(_colours(fake), _colours(fine))
        structure = F.l1_loss(_structure(fake), _structure(coarse))
        return COLOUR * colour + STRUCTURE * structure, fake

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """PSNR of the averaged networks' reconstructions of faces they never saw."""
        net = self.averages.net
        errors = [
            (net.generator.synthesis(net.encoder(x)).clamp(-1, 1) - x).square().mean((1, 2, 3))
            for x in self.held.split(50)
        ]
        return {"PSNR in dB": 10 * math.log10(4 / float(torch.cat(errors).mean()))}

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "adversary": self.adversary.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net = Networks()
        self.net.load_state_dict(state["net"])
        self._prepare(seed=int(torch.randint(1 << 30, ())))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.adversary.restore(state["adversary"])


def _colours(images: Tensor) -> Tensor:
    """Mean and deviation of each channel, of the picture and of where the face is: [N, 4, 3]."""
    parts = [images, images[:, :, FACE[0], FACE[1]]]
    moments = [torch.var_mean(part, (2, 3)) for part in parts]
    rows = [row for variance, mean in moments for row in (mean, (variance + 1e-4).sqrt())]
    return torch.stack(rows, 1)


def _structure(images: Tensor) -> Tensor:
    """Images at an eighth of their size, without their colours' mean and deviation."""
    small = F.avg_pool2d(images, 8)
    variance, mean = torch.var_mean(small, (2, 3), keepdim=True)
    return (small - mean) * torch.rsqrt(variance + 1e-3)


def averaged(folder: Path) -> Networks:
    """Return the averaged networks of a run."""
    net = Networks()
    net.load_state_dict(load(folder)[1]["averages"])
    return net.eval().requires_grad_(False)


def _laid_out(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _fill_published(net: Networks) -> None:
    """Take over the networks that are in the repository."""
    tensors = read_stylegan2(PUBLISHED / "generator.pt").tensors
    state = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    for name, value in state.items():
        if name.endswith(("conv0.weight", "conv1.weight")):
            # The reader folds rosinality's 1 / sqrt(fan_in) in; training steps are sized
            # for kernels of unit variance.
            state[name] = value * math.sqrt(value[0].numel())
    net.generator.load_state_dict(state, strict=False)
    encoder = read_safetensors(ENCODER_FILE)
    net.encoder.load_state_dict({k: torch.from_numpy(v) for k, v in encoder.items()})


@torch.no_grad()
def fold_offsets(generator: Generator, encoder: Encoder, images: Tensor) -> None:
    """Move the offsets that faces [N, 3, R, R] share into the affine layers.

    A layer's affine reads w + offset. The mean of the offset becomes part of its bias: a w without
    any offset is a face then, which random codes and averages of codes are.
    """
    constant = torch.cat([encoder.codes(x)[1] for x in images.split(100)]).mean(0)
    for name, layer in generator.named_modules():
        if name.endswith("affine"):
            assert isinstance(layer, EqualLinear)
            code = constant[layer_of(name)]
            layer.bias += (layer(code) - layer(torch.zeros_like(code))) / layer.lr
    encoder.offset_out.bias -= constant.flatten()


def main() -> None:
    parser = arguments(__doc__, minutes=90)
    parser.add_argument(
        "--start", type=Path, help="the 64 px head start; without it, the published networks"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    train(Faces128(options.data, options.start), options.out, options.minutes)


if __name__ == "__main__":
    main()
