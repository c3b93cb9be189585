"""The model card of a network: data, recipe, figures on held-out faces, contact sheet."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import faces128
from zoo.faces import as_images, load_faces
from zoo.faces128 import CONFIG, Run
from zoo.losses import Vgg19Small, feature_distance
from zoo.split import HELD_OUT, split

SHOWN = 12  # faces in a row of the sheet
PROJECTED = 24  # held-out faces that the projection is measured on
STEPS = 100
PSI = 0.7
ROWS = (
    "held out: never trained on",
    "the encoder's reconstruction",
    f"after {STEPS} projection steps",
    "coarse layers of the right neighbour",
    "middle layers of the right neighbour",
    "fine layers of the right neighbour",
    f"random samples, psi {PSI}",
)


def write_card(run: Run, data: Path, folder: Path) -> None:
    """Measure the averaged networks and write card.md and contact.png."""
    generator, encoder = run.averages
    faces = load_faces(data, CONFIG.resolution)
    train, held = split(len(faces))
    images = as_images(faces[held])
    features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
    with torch.no_grad():
        codes = torch.cat([encoder(x) for x in images.split(50)])
        drawn = torch.cat([_draw(run, ws) for ws in codes.split(50)])
    found = _project(run, features, images[:PROJECTED], codes[:PROJECTED])
    with torch.no_grad():
        projected = _draw(run, found)
        figures = {
            f"encoder: PSNR, {HELD_OUT} held-out faces": f"{psnr(drawn, images):.2f} dB",
            "encoder: distance of VGG features (relative L1, 5 layers)": (
                f"{float(feature_distance(features(drawn), features(images))):.3f}"
            ),
            f"encoder + {STEPS} steps: PSNR, {PROJECTED} held-out faces": (
                f"{psnr(projected, images[:PROJECTED]):.2f} dB"
            ),
            f"encoder + {STEPS} steps: distance of VGG features": f"{float(feature_distance(features(projected), features(images[:PROJECTED]))):.3f}",
            "parameters: generator, encoder": "{:,}, {:,}".format(
                *(sum(p.numel() for p in net.parameters()) for net in (generator, encoder))
            ),
        }
        rows = [images[:SHOWN], drawn[:SHOWN], projected[:SHOWN], *_mixes(run, found[:SHOWN])]
        rows.append(_samples(run))
    _write_sheet(rows, folder / "contact.png")
    (folder / "card.md").write_text(_card(run, len(train), figures))


def psnr(found: Tensor, wanted: Tensor) -> float:
    """PSNR in dB of pictures in [-1, 1], from the mean squared error of all."""
    return 10 * math.log10(4 / float(F.mse_loss(found.clamp(-1, 1), wanted)))


def _draw(run: Run, ws: Tensor) -> Tensor:
    image: Tensor = run.averages[0].synthesis(ws)
    return image.clamp(-1, 1)


def _project(run: Run, features: Vgg19Small, images: Tensor, start: Tensor) -> Tensor:
    """Adam on L1 and VGG features, from the encoder's codes. A measurement of the generator: the
    product's own projection is `mien project`."""
    ws = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([ws], 0.05)
    with torch.no_grad():
        wanted = features(images)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / STEPS)
        image = run.averages[0].synthesis(ws)
        loss = 2 * F.l1_loss(image, images) + 0.5 * feature_distance(features(image), wanted)
        optimiser.zero_grad()
        (len(images) * loss).backward()
        optimiser.step()
    return ws.detach()


def _mixes(run: Run, ws: Tensor) -> list[Tensor]:
    other, mixes = ws.roll(-1, 0), []
    for low, high in ((0, 4), (4, 8), (8, CONFIG.num_ws)):
        mixed = ws.clone()
        mixed[:, low:high] = other[:, low:high]
        mixes.append(_draw(run, mixed))
    return mixes


def _samples(run: Run) -> Tensor:
    mapping = run.averages[0].mapping
    z = torch.randn(SHOWN, CONFIG.z_dim, generator=torch.Generator().manual_seed(1))
    return _draw(run, mapping.truncated(mapping(z), torch.full((CONFIG.num_ws,), PSI)))


def _write_sheet(rows: list[Tensor], path: Path) -> None:
    side, line = CONFIG.resolution, 20
    strips = []
    for text, row in zip(ROWS, rows, strict=True):
        label = np.full((line, side * SHOWN, 3), 250, np.uint8)
        cv2.putText(
            label, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA
        )
        pictures = ((row + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        strips += [label, np.concatenate(list(pictures), 1)]
    cv2.imwrite(str(path), np.concatenate(strips)[:, :, ::-1])


def _card(run: Run, trained_on: int, figures: dict[str, str]) -> str:
    table = "\n".join(f"| {what} | {value} |" for what, value in figures.items())
    return f"""# faces128: the generator and encoder that come with mien

A StyleGAN2-layout generator ({CONFIG.resolution} px, {CONFIG.num_ws} layers of {CONFIG.w_dim}), a
mapping network of {CONFIG.mapping_layers} layers, and an encoder into W+. Made by this project,
licensed as it is (Apache-2.0).

![contact sheet](contact.png)

| figure | value |
| --- | --- |
{table}

- **Data**: {trained_on:,} synthetic faces (people who do not exist), {HELD_OUT} more held out by
  `zoo/split.py` and used for the figures and the sheet only. The PSNR of the projection counts its
  own targets, as a projection does.
- **Recipe**: `zoo/faces128.py`: from a 64 px head start of the project's own, {run.step:,} steps of
  batch {faces128.BATCH} in {run.minutes:.0f} minutes on {torch.get_num_threads()} cores
  ({platform.machine()}, torch {torch.__version__}, bfloat16), shared with other work. L1 and VGG
  features through the encoder, adversarial on reconstructions and random samples.
- **Limits**: frontal faces at 128 px. Backgrounds, hats, hands and earrings come out vague; skin
  and age are as diverse as the generated faces of the training data, which is not the world's.
- **Use**: demonstrations and tests. Pictures it makes are synthetic and are marked so.
"""
