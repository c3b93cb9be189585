"""Train a small recognition network to embed faces as a larger one does.

    python -m zoo.embedder --data DATA --out RUN --minutes 30

The layout is MobileFaceNet's (Chen et al. 2018, arXiv 1804.07573), of less than half the teacher's
widths. It learns the directions of the teacher's embeddings of the same picture, and, on pictures
taken again (turned, moved, darker, blurred), those of the original. RUN/embedder.safetensors is
what `mien export arcface` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_export.checkpoints.arcface import read_arcface
from mien_export.families.arcface import framing, network
from mien_export.nets.recogniser import Recogniser
from zoo.averages import Averages
from zoo.faces import as_images, learnt_and_held, load_faces
from zoo.training import OneNetwork, arguments, train, write_half

SIDE, SIZE = 128, 112  # px of the faces, and of what is embedded
FIRST, LAST, EMBEDDING = 32, 256, 128
# Units as the layout has them: expansion, channels, count, first stride.
UNITS = ((2, 32, 4, 2), (4, 64, 1, 2), (2, 64, 4, 1), (4, 64, 1, 2), (2, 64, 2, 1))
BATCH, RATE = 32, 2e-3
TURN, SCALE, MOVE, LIGHT = 8.0, 0.06, 0.03, 0.25  # degrees, relative, of the side, relative
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as the teacher has


class Unit(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, and the input where the shape is the same."""

    def __init__(self, c_in: int, inside: int, c_out: int, stride: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(c_in, inside, 1, bias=False), nn.BatchNorm2d(inside), nn.ReLU6()
            ),
            nn.Sequential(depthwise, nn.BatchNorm2d(inside), nn.ReLU6()),
            nn.Conv2d(inside, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class Separable(nn.Module):
    """3x3 depthwise, 1x1 pointwise, each with norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class Everywhere(nn.Module):
    """A depthwise convolution as large as the map."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.depthwise(x))
        return result


class Student(nn.Module):
    """image [N, 3, 112, 112] in [-1, 1] -> embedding [N, 128]. Named as MobileFaceNet's files."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, FIRST, 3, 2, 1, bias=False)
        self.conv1 = nn.Sequential(first, nn.BatchNorm2d(FIRST), nn.ReLU6())
        self.dw_conv = Separable(FIRST)
        self.features = nn.Sequential()
        c_in = FIRST
        for expansion, width, count, stride in UNITS:
            for i in range(count):
                self.features.append(Unit(c_in, expansion * c_in, width, stride if i == 0 else 1))
                c_in = width
        last = nn.Conv2d(c_in, LAST, 1, bias=False)
        self.conv2 = nn.Sequential(last, nn.BatchNorm2d(LAST), nn.ReLU6())
        self.gdconv = Everywhere(LAST, SIZE // 16)
        self.conv3 = nn.Conv2d(LAST, EMBEDDING, 1)
        self.bn = nn.BatchNorm1d(EMBEDDING)

    def forward(self, image: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
        x = self.dw_conv(self.conv1(((image + 1) / 2 - mean) / deviation))
        x = self.conv3(self.gdconv(self.conv2(self.features(x))))
        embedding: Tensor = self.bn(x.flatten(1))
        return embedding


def taken_again(
    faces: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:  # [N, H, W, 3]
    """Turn, move, scale, mirror, light and blur each face differently."""
    side, pictures = faces.shape[1], []
    for face in faces:
        turn, scale = random.uniform(-TURN, TURN), 1 + random.uniform(-SCALE, SCALE)
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(turn), float(scale))
        matrix[:, 2] += random.uniform(-MOVE, MOVE, 2) * side
        moved = cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        if random.random() < 0.3:
            moved = cv2.GaussianBlur(moved, (0, 0), float(random.uniform(0.4, 1.2)))
        gains = 1 + random.uniform(-LIGHT, LIGHT) + random.uniform(-0.05, 0.05, 3)
        lit = np.clip(moved * gains + random.uniform(-10, 10), 0, 255).astype(np.uint8)
        pictures.append(lit[:, ::-1] if random.random() < 0.5 else lit)
    return np.stack(pictures)


def auc(same: Tensor, strangers: Tensor) -> float:
    """How often a pair of the same face is nearer than a pair of strangers."""
    order = torch.searchsorted(strangers.sort().values, same.contiguous())
    return float(order.double().mean() / len(strangers))


class EmbedderTraining(OneNetwork):
    """The student, its teacher, and the faces."""

    def __init__(self, data: Path) -> None:
        faces = load_faces(data, SIDE)
        learnt, held = learnt_and_held(data)
        self.faces, self.held = faces[learnt], faces[held]
        teacher = network(read_arcface(data / "weights/face_embed/foamliu_mobilefacenet.pt"))
        self.framing = framing(teacher, SIDE)
        self.teacher = Recogniser(teacher).to(memory_format=torch.channels_last)

    def network(self) -> nn.Module:
        return Student()

    def prepare(self, seed: int) -> None:
        self.net.to(memory_format=torch.channels_last)
        self.random = np.random.default_rng(seed)
        self.averages = Averages(self.net, 0.99)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), RATE, weight_decay=1e-3)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * max(0.02, 1 - share)
        chosen = self.faces[self.random.integers(0, len(self.faces), BATCH)]
        views = [self._framed(p) for p in (taken_again(chosen, self.random) for _ in range(2))]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wanted = [self.teacher(view).float() for view in views]
            found = [F.normalize(self.net(view).float()) for view in views]
        # Each view towards the teacher's of both: what differs between the views is not the face.
        target = F.normalize(wanted[0] + wanted[1])
        near = torch.stack([2 - 2 * (f * target).sum(1).mean() for f in found]).mean()
        one, two = found[0] @ found[0].t(), wanted[0] @ wanted[0].t()
        loss = near + 2 * F.mse_loss(one, two)  # strangers as far apart as the teacher has them
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.averages.follow(self.net, step)
        return {"distance": float(near.detach())}

    def _framed(self, pictures: NDArray[np.uint8]) -> Tensor:
        with torch.no_grad():
            images: Tensor = self.framing(as_images(pictures))
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        random = np.random.default_rng(5)
        views = [self._framed(p) for p in (self.held, taken_again(self.held, random))]
        own, again = (F.normalize(self.averages.net(view)) for view in views)
        cosines = own @ again.t()
        same = cosines.diagonal()
        strangers = cosines[~torch.eye(len(own), dtype=torch.bool)]
        teacher = (own * self.teacher(views[0])).sum(1)
        return {
            "AUC": auc(same, strangers),
            "same": float(same.mean()),
            "strangers": float(strangers.mean()),
            "cosine to the teacher": float(teacher.mean()),
        }


def main() -> None:
    options = arguments(__doc__, minutes=30).parse_args()
    torch.manual_seed(0)
    training = EmbedderTraining(options.data)
    train(training, options.out, options.minutes)
    write_half(training.averages.net.state_dict(), options.out / "embedder.safetensors")


if __name__ == "__main__":
    main()
