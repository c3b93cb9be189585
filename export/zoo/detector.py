"""Train a small detector of faces with five points each, on faces laid on canvases.

    python -m zoo.detector --data DATA --out RUN --minutes 40

YuNet labels the faces once (RUN/labels.npz); the canvases know where their faces went. Each step
has canvases of one size; all steps have as many pixels. RUN/detector.safetensors is what
`mien export faces` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_export.nets.face_detector import (
    STRIDES,
    FaceDetector,
    FaceDetectorConfig,
    begin,
    decoded,
)
from zoo.averages import Averages
from zoo.composite import Canvas, Compositor
from zoo.detections import Detections, found_in, matched
from zoo.labels import MIRRORED_5, labelled_faces, paintings
from zoo.training import OneNetwork, arguments, train, write_half

F64 = NDArray[np.float64]

# Sides of canvases in px, and how often; a batch has PIXELS pixels, and
# two canvases at least.
SIDES = {160: 0.2, 192: 0.25, 256: 0.25, 384: 0.18, 640: 0.12}
PIXELS = 16 * 192 * 192
RATE, DECAY = 2e-3, 1e-4
# Longer sides in px of the faces that each stride is to find; they overlap.
SPANS = {8: (0.0, 56.0), 16: (44.0, 128.0), 32: (100.0, 1e9)}
REACH = 1.5  # strides from the face's centre within which a cell is to find it
RING = 0.75  # strides further within which a cell may say what it likes
BOX, POINTS = 2.0, 10.0  # weights
HELD = {192: 96, 640: 12}  # canvases to measure on, of each side


class Targets:
    """What the cells of a batch should say.

    index: of the cells that are to find a face, among all cells of the batch, stride by stride,
    canvas by canvas, row by row. cells: their column and row. counted: 1 where a cell that finds
    nothing is right.
    """

    def __init__(self, canvases: Sequence[Canvas]) -> None:
        side = canvases[0].picture.shape[0]
        found: list[tuple[int, int, int, int, F64, F64]] = []
        counted, first = [], 0
        for stride in STRIDES:
            across = side // stride
            for canvas in canvases:
                free = np.ones((across, across), np.float32)
                owner = self._owners(canvas, stride, across, free)
                for row, column in zip(*np.nonzero(owner >= 0), strict=True):
                    face = owner[row, column]
                    free[row, column] = 1
                    place = first + row * across + column
                    box, points = canvas.boxes[face], canvas.points[face]
                    found.append((place, column, row, stride, box, points))
                counted.append(free.ravel())
                first += across * across
        self.counted = torch.from_numpy(np.concatenate(counted))
        self.index = torch.tensor([f[0] for f in found], dtype=torch.long)
        self.cells = torch.tensor([f[1:3] for f in found]).reshape(-1, 2).float()
        self.strides = torch.tensor([f[3] for f in found]).float()
        self.boxes = torch.tensor(np.array([f[4] for f in found]).reshape(-1, 4)).float()
        self.points = torch.tensor(np.array([f[5] for f in found]).reshape(-1, 5, 2)).float()

    @staticmethod
    def _owners(
        canvas: Canvas, stride: int, across: int, free: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """The face that each cell is to find, or -1; free becomes 0 where nothing is asked."""
        centres = (np.arange(across) + 0.5) * stride
        owner = np.full((across, across), -1)
        for i in np.argsort(-(canvas.boxes[:, 2:] - canvas.boxes[:, :2]).prod(1)):
            box = canvas.boxes[i]
            if not canvas.wanted[i]:
                inside = [(centres > box[k]) & (centres < box[k + 2]) for k in (0, 1)]
                free[np.outer(inside[1], inside[0])] = 0
                continue
            low, high = SPANS[stride]
            if not low <= max(box[2:] - box[:2]) < high:
                continue
            far = [abs(centres - (box[k] + box[k + 2]) / 2) / stride for k in (0, 1)]
            reach = [min(REACH, max(0.51, 0.3 * (box[k + 2] - box[k]) / stride)) for k in (0, 1)]
            near = [f <= r + RING for f, r in zip(far, reach, strict=True)]
            free[np.outer(near[1], near[0])] = 0
            own = [f <= r for f, r in zip(far, reach, strict=True)]
            owner[np.outer(own[1], own[0])] = i
        return owner


def losses(raw: Sequence[Tensor], targets: Targets) -> dict[str, Tensor]:
    """How far the cells' raw values [N, cells, VALUES] of each stride are from targets."""
    rows = torch.cat([x.reshape(-1, x.shape[-1]) for x in raw])
    own = rows[targets.index]
    count = max(1, len(own))
    _, _, box, points = decoded(own)
    boxes = _boxes(box, targets)
    overlap, apart = _overlap(boxes, targets.boxes)
    face = torch.zeros(len(rows))
    face[targets.index] = 1.0
    quality = torch.zeros(len(rows))
    quality[targets.index] = overlap.detach().clamp(0, 1)
    size = (targets.boxes[:, 2:] - targets.boxes[:, :2]).mean(1)
    places = (targets.cells[:, None] + points.reshape(-1, 5, 2)) * targets.strides[:, None, None]
    off = (places - targets.points).abs().mean((1, 2)) / size
    return {
        "face": (_focal(rows[:, 0], face) * targets.counted).sum() / count,
        "quality": (_focal(rows[:, 1], quality) * targets.counted).sum() / count,
        "box": (1 - overlap + apart).sum() / count,
        "points": off.sum() / count,
    }


def _focal(logit: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy, weighted by the square of the error (Li et al. 2020, arXiv 2006.04388)."""
    error = (logit.sigmoid() - wanted).detach().square()
    return error * F.binary_cross_entropy_with_logits(logit, wanted, reduction="none")


def _boxes(box: Tensor, targets: Targets) -> Tensor:
    """Coded boxes [n, 4] -> left, top, right, bottom in px."""
    stride = targets.strides[:, None]
    centre, half = (targets.cells + box[:, :2]) * stride, box[:, 2:].exp() * stride / 2
    return torch.cat([centre - half, centre + half], 1)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and the squared distance of the centres against the hull's diagonal

    (Zheng et al. 2020, arXiv 1911.08287).
    """
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    union = areas[0] + areas[1] - common.prod(1)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(1)
    return common.prod(1) / union, apart / hull.square().sum(1)


def as_input(canvases: Sequence[Canvas]) -> Tensor:
    """RGB pictures -> [N, 3, H, W], BGR, 0 to 255."""
    pictures = np.stack([canvas.picture[:, :, ::-1] for canvas in canvases])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float()


class DetectorTraining(OneNetwork):
    """The network, and compositors of the faces to learn from and of those held out."""

    save_every = 250

    def __init__(self, data: Path, run: Path) -> None:
        self.learnt, self.held = labelled_faces(data, run / "labels.npz", "five")
        self.paintings = paintings(data)

    def network(self) -> nn.Module:
        net = FaceDetector(FaceDetectorConfig())
        begin(net)
        return net

    def prepare(self, seed: int) -> None:
        self.net.train().to(memory_format=torch.channels_last)
        self.random = np.random.default_rng(seed)
        self.compositor = Compositor(self.learnt, MIRRORED_5, self.paintings, self.random)
        held = Compositor(self.held, MIRRORED_5, [], np.random.default_rng(999))
        self.canvases = {side: [held.draw(side) for _ in range(n)] for side, n in HELD.items()}
        self.averages = Averages(self.net, 0.998)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), RATE, weight_decay=DECAY)

    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 200) * max(0.02, 1 - share)
        side = int(self.random.choice(list(SIDES), p=list(SIDES.values())))
        canvases = [self.compositor.draw(side) for _ in range(max(2, PIXELS // side**2))]
        image = as_input(canvases).contiguous(memory_format=torch.channels_last)
        parts = losses(self.net.cells(image), Targets(canvases))
        loss = parts["face"] + parts["quality"] + BOX * parts["box"] + POINTS * parts["points"]
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self.averages.follow(self.net, step)
        return {name: float(value.detach()) for name, value in parts.items()}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        figures = {}
        for side, canvases in self.canvases.items():
            found: list[Detections] = []
            for i in range(0, len(canvases), 12):
                batch = canvases[i : i + 12]
                outputs = [x.numpy() for x in self.averages.net(as_input(batch))]
                found += [
                    found_in([x[n] for x in outputs], STRIDES, side) for n in range(len(batch))
                ]
            for name, value in matched(found, canvases).items():
                figures[f"{name} at {side}"] = value
        return figures


def main() -> None:
    options = arguments(__doc__, minutes=40).parse_args()
    torch.manual_seed(0)
    training = DetectorTraining(options.data, options.out)
    train(training, options.out, options.minutes)
    write_half(training.averages.net.state_dict(), options.out / "detector.safetensors")


if __name__ == "__main__":
    main()
