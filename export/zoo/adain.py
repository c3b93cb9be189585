"""Train a decoder for AdaIN style transfer, on the zoo's own VGG student.

    python -m zoo.adain --data DATA --out RUN --encoder vgg.safetensors --minutes 40

Huang and Belongie 2017 (arXiv 1703.06868, Eq. 11 to 13): the content's map at relu3_1, at the mean
and deviation of the style's, is drawn so that the encoder sees that map again, with the style's
moments in every stage. Deviations: relu3_1 instead of relu4_1, which a decoder of this size draws
cleanly; pixels that need no style (a picture in its own style) are also held to the picture; the
moments are those of the teacher's stages; and the colours themselves have moments too, which a
small encoder would lose. RUN/adain.safetensors is what `mien export adain` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.checkpoints import read_weights
from mien_export.checkpoints.vgg import vgg_from_tensors
from mien_export.nets.adain import adain
from mien_export.nets.style_decoder import statistics
from mien_export.nets.vgg import vgg_from_checkpoint
from zoo.averages import Averages
from zoo.crops import Crops
from zoo.losses import Vgg19Small, feature_distance
from zoo.training import OneNetwork, arguments, train, write_half

DEPTH = 3  # the map is relu3_1
WIDTHS = ((64, 64, 32), (32, 32, 16), (16, 16, 3))
SIDE, BATCH, RATE = 128, 8, 1e-3
# Weights: the style's moments, those of its colours, and the picture in its own style.
STYLE, COLOUR, OWN = 3.0, 3.0, 1.0
HELD = 3  # batches


class Decoder(nn.Module):
    """As nets.style_decoder has it, with torch's own reflection, which has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(a, b, 3, padding=1, padding_mode="reflect") for a, b in pairwise(stage)
            )
            for stage in WIDTHS
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage, convolutions in enumerate(self.stages):
            assert isinstance(convolutions, nn.ModuleList)
            x = x if stage == 0 else F.interpolate(x, scale_factor=2.0, mode="nearest")
            for i, convolution in enumerate(convolutions):
                x = convolution(x)
                if (stage, i) != (len(WIDTHS) - 1, len(convolutions) - 1):
                    x = F.relu(x)
        return x


class AdainTraining(OneNetwork):
    """The decoder, the encoder it draws for, and the teacher's stages."""

    def __init__(self, data: Path, encoder: Path) -> None:
        self.data = data
        self.teacher = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
        tensors = read_weights(encoder).tensors
        self.kept = {
            n: x for n, x in tensors.items() if _stage(n) < DEPTH or n[:6] == f"conv{DEPTH}1"
        }
        self.encoder = vgg_from_checkpoint(vgg_from_tensors(self.kept, encoder.name))

    def network(self) -> nn.Module:
        return Decoder()

    def prepare(self, seed: int) -> None:
        contents = Crops(self.data, SIDE, BATCH, seed=998, faces=0.6)
        styles = Crops(self.data, SIDE, BATCH, seed=999, faces=0, styles=True)
        self.held = [(next(contents), next(styles)) for _ in range(HELD)]
        self.contents = Crops(self.data, SIDE, BATCH, seed=seed, faces=0.6)
        self.styles = Crops(self.data, SIDE, BATCH, seed=seed + 1, faces=0.1, styles=True)
        self.averages = Averages(self.net)
        self.optimiser = torch.optim.Adam(self.net.parameters(), RATE)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * max(0.02, 1 - share)
        losses = self._losses(next(self.contents), next(self.styles), self.net)
        self.optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimiser.step()
        self.averages.follow(self.net, step)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _losses(self, content: Tensor, style: Tensor, net: nn.Module) -> dict[str, Tensor]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            code, other = (self._encode(x).float() for x in (content, style))
            mean, deviation = statistics(other)
            wanted = adain(code, deviation, mean)
            moments = [_moments(x.float()) for x in self.teacher(style)]
            own = self.teacher(content)
        with torch.autocast("cpu", torch.bfloat16):
            drawn, again = (net(x).float() for x in (wanted, code))
            seen = self._encode(drawn).float()
            found = [_moments(x.float()) for x in self.teacher(drawn)]
        pairs = zip(found, moments, strict=True)
        style_loss = torch.stack([(a - b).abs().mean() / b.abs().mean() for a, b in pairs]).mean()
        near = F.l1_loss(again, content) + 0.1 * feature_distance(self.teacher(again), own)
        return {
            "content": (seen - wanted).abs().mean() / wanted.abs().mean(),
            "style": STYLE * style_loss,
            "colour": COLOUR * (_moments(drawn) - _moments(style)).abs().mean(),
            "own": OWN * near,
        }

    def _encode(self, image: Tensor) -> Tensor:
        code: Tensor = self.encoder(image)[-1][0]
        return code

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        rows = [self._losses(a, b, self.averages.net) for a, b in self.held]
        return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}


def _stage(name: str) -> int:
    """The stage of a tensor of a distilled encoder: conv0.weight, conv21.bias, ..."""
    return int(name[4])


def _moments(x: Tensor) -> Tensor:
    return torch.stack(statistics(x), 1)


def main() -> None:
    parser = arguments(__doc__, minutes=40)
    parser.add_argument("--encoder", type=Path, required=True, help="what zoo.vgg wrote")
    options = parser.parse_args()
    torch.manual_seed(0)
    training = AdainTraining(options.data, options.encoder)
    train(training, options.out, options.minutes)
    tensors = {f"encoder.{name}": torch.from_numpy(x) for name, x in training.kept.items()}
    tensors |= {f"decoder.{n}": x for n, x in training.averages.net.state_dict().items()}
    write_half(tensors, options.out / "adain.safetensors")


if __name__ == "__main__":
    main()
