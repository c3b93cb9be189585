"""Train a small network to find 68 points in a crop of a face.

    python -m zoo.landmarks --data DATA --out RUN --minutes 40

PFLD labels the faces once (RUN/labels.npz). Crops are those that a detector's box gives: a square
of 1.2 times its longer side, the box a little off, the head or the camera askew.
RUN/landmarks.safetensors is what `mien export faces` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_export.nets.landmarks68 import Landmarks68, Landmarks68Config, begin
from mien_export.nets.pictures import from_uint8
from zoo.averages import Averages
from zoo.backgrounds import Backgrounds
from zoo.composite import Face, cut_out, photographed, taken
from zoo.labels import CROP, MIRRORED_68, SIDE, labelled_faces, paintings
from zoo.lighting import Camera
from zoo.training import OneNetwork, arguments, train, write_half
from zoo.warps import moved, turned_box

F64 = NDArray[np.float64]

BATCH, RATE, DECAY = 32, 2e-3, 1e-4
OFF, SIZED = 0.05, 0.08  # deviations of the box's centre, in its sides, and of its logarithmic size
EYES = (slice(36, 42), slice(42, 48))  # contours of the eyes
HELD = 400  # crops to measure on


class Crops:
    """Draws pictures [n, SIDE, SIDE, 3] with points [n, 68, 2] in sides of the crop."""

    def __init__(
        self, faces: list[Face], paintings: list[NDArray[np.uint8]], random: np.random.Generator
    ) -> None:
        self.faces, self.random = faces, random
        self.backgrounds = Backgrounds(paintings, [face.picture for face in faces], random)
        self.camera = Camera(random)

    def draw(self, count: int) -> tuple[NDArray[np.uint8], F64]:
        drawn = [self._crop() for _ in range(count)]
        return np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn])

    def _crop(self) -> tuple[NDArray[np.uint8], F64]:
        face = self.faces[self.random.integers(len(self.faces))]
        if self.random.random() < 0.5:
            face = face.mirrored(MIRRORED_68)
        matrix = taken(face, np.full(2, SIDE / 2), face.longer, self.random)
        box = turned_box(face.box, matrix)
        # Scaled so that the turned box fills the crop as it would, and then as it is found.
        longer = SIDE / (CROP * max(box[2:] - box[:2])) * np.exp(self.random.normal(0, SIZED))
        place = SIDE / 2 + self.random.normal(0, OFF, 2) * SIDE / CROP
        linear = matrix[:, :2] * longer
        matrix = np.column_stack([linear, place - linear @ face.centre])
        if self.random.random() < 0.6:
            picture = photographed(face, matrix, SIDE, self.random)
        else:
            picture = self.backgrounds.draw(SIDE)
            cut_out(face, matrix, picture, self.random)
        return self.camera.take(picture), moved(face.points, matrix) / SIDE


def eye_distance(points: Tensor) -> Tensor:  # [N, 68, 2] -> [N]
    """Distance of the eyes' centres."""
    left, right = (points[:, eye].mean(1) for eye in EYES)
    return (right - left).norm(dim=1)


def relative_errors(found: Tensor, wanted: Tensor) -> Tensor:  # [N, 68, 2] each -> [N]
    """Mean distance of the points, against that of the eyes."""
    return (found - wanted).norm(dim=2).mean(1) / eye_distance(wanted)


class LandmarksTraining(OneNetwork):
    """The network, and crops of the faces to learn from and of those held out."""

    save_every = 250

    def __init__(self, data: Path, run: Path) -> None:
        self.learnt, self.held = labelled_faces(data, run / "labels.npz", "many")
        self.paintings = paintings(data)

    def network(self) -> nn.Module:
        net = Landmarks68(Landmarks68Config(size=SIDE))
        _, points = Crops(self.learnt, [], np.random.default_rng(1)).draw(200)
        begin(net, torch.from_numpy(points.mean(0)).float())
        return net

    def prepare(self, seed: int) -> None:
        self.net.train().to(memory_format=torch.channels_last)
        self.crops = Crops(self.learnt, self.paintings, np.random.default_rng(seed))
        self.seen, wanted = Crops(self.held, [], np.random.default_rng(999)).draw(HELD)
        self.wanted = torch.from_numpy(wanted).float()
        self.averages = Averages(self.net, 0.998)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), RATE, weight_decay=DECAY)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 200) * max(0.02, 1 - share)
        pictures, points = self.crops.draw(BATCH)
        image = from_uint8(torch.from_numpy(pictures)).contiguous(memory_format=torch.channels_last)
        wanted = torch.from_numpy(points).float()
        loss = relative_errors(self.net(image), wanted).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self.averages.follow(self.net, step)
        return {"error": 100 * float(loss.detach())}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """Error in percent of the distance of the eyes: mean, and what nine of ten stay below."""
        images = from_uint8(torch.from_numpy(self.seen))
        found = torch.cat([self.averages.net(x) for x in images.split(50)])
        errors = 100 * relative_errors(found, self.wanted)
        return {"error": float(errors.mean()), "nine of ten": float(errors.quantile(0.9))}


def main() -> None:
    options = arguments(__doc__, minutes=40).parse_args()
    torch.manual_seed(0)
    training = LandmarksTraining(options.data, options.out)
    train(training, options.out, options.minutes)
    write_half(training.averages.net.state_dict(), options.out / "landmarks.safetensors")


if __name__ == "__main__":
    main()
