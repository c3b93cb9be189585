"""The model card of a network: data, recipe, figures on held-out faces, contact sheet.

    python -m zoo.card RUN --data DATA

Everything is measured on what ships: the demo bundle, through the product's own verbs. The sheet
shows only what the networks drew, since the faces are not ours to publish; RUN/beside.png has the
faces above it, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from mien import Studio, mix
from zoo import faces128
from zoo.faces import as_images, load_faces
from zoo.metrics import distances, squeeze_lpips
from zoo.split import HELD_OUT, split
from zoo.training import load

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

HERE = Path(__file__).parent / "faces128"
SHOWN = 12  # faces in a row of the sheet
PROJECTED = 24  # held-out faces that the projection is measured on, in batches of BATCH
BATCH = 6
PSI = 0.7
LAYERS = ("coarse", "middle", "fine")


def psnr(found: U8, wanted: U8) -> float:
    """PSNR in dB, from the mean squared error of all pictures."""
    error = np.square(found.astype(np.float64) - wanted).mean()
    return float(10 * np.log10(255**2 / error))


def write_card(steps: int, minutes: float, data: Path, folder: Path, beside: Path) -> None:
    """Measure the demo bundle; write card.md and contact.png, and beside with the real faces."""
    faces = load_faces(data, faces128.CONFIG.resolution)
    train, held = split(len(faces))
    wanted = faces[held]
    with Studio("demo") as studio:
        encoded = _drawn(studio, [studio.invert(face) for face in wanted])
        batches = range(0, PROJECTED, BATCH)
        found = [
            projection
            for i in track(batches, "projecting")
            for projection in studio.project_all(list(wanted[i : i + BATCH]))
        ]
        codes = [projection.ws for projection in found]
        projected = _drawn(studio, codes)
        count = found[0].steps
        rows = {
            "the encoder's reconstruction of faces never trained on": encoded[:SHOWN],
            f"after {count} projection steps": projected[:SHOWN],
            **{
                f"{name} layers of the right neighbour": _mixed(studio, codes[:SHOWN], name)
                for name in LAYERS
            },
            f"random samples, psi {PSI}": _drawn(
                studio, [studio.sample(seed, psi=PSI) for seed in range(SHOWN)]
            ),
        }
    terms = found[0].terms
    means = {name: float(np.mean([p.terms[name] for p in found])) for name in terms}
    far = distances(squeeze_lpips(data), as_images(projected), as_images(wanted[:PROJECTED]))
    figures = {
        f"encoder: PSNR, {HELD_OUT} held-out faces": f"{psnr(encoded, wanted):.2f} dB",
        f"encoder: PSNR, the first {PROJECTED} of them": (
            f"{psnr(encoded[:PROJECTED], wanted[:PROJECTED]):.2f} dB"
        ),
        f"encoder + {count} steps: PSNR, the same {PROJECTED}": (
            f"{psnr(projected, wanted[:PROJECTED]):.2f} dB"
        ),
        f"encoder + {count} steps: 1 - MS-SSIM, mean": f"{means['ms_ssim']:.4f}",
        f"encoder + {count} steps: LPIPS (SqueezeNet), mean": f"{float(far.mean()):.3f}",
    }
    _write_sheet(rows, folder / "contact.png")
    _write_sheet({"held out": wanted[:SHOWN], **rows}, beside)
    (folder / "card.md").write_text(_card(len(train), steps, minutes, figures))


def _drawn(studio: Studio, codes: list[F32]) -> U8:
    return np.stack([studio.render(code).array for code in codes])


def _mixed(studio: Studio, codes: list[F32], layers: str) -> U8:
    others = [*codes[1:], codes[0]]
    pairs = zip(codes, others, strict=True)
    return _drawn(studio, [mix(own, other, layers=layers) for own, other in pairs])


def _write_sheet(rows: dict[str, U8], path: Path) -> None:
    line, strips = 20, []
    for text, pictures in rows.items():
        strip = np.concatenate(list(pictures), 1)
        label = np.full((line, strip.shape[1], 3), 250, np.uint8)
        font, ink = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)
        cv2.putText(label, text, (4, 15), font, 0.5, ink, 1, cv2.LINE_AA)
        strips += [label, strip]
    cv2.imwrite(str(path), np.concatenate(strips)[:, :, ::-1])


def _card(trained_on: int, steps: int, minutes: float, figures: dict[str, str]) -> str:
    config = faces128.CONFIG
    table = "\n".join(f"| {what} | {value} |" for what, value in figures.items())
    return f"""# faces128: the generator and encoder that come with mien

A StyleGAN2-layout generator ({config.resolution} px, {config.num_ws} layers of {config.w_dim}), a
mapping network of {config.mapping_layers} layers, and an encoder into W+. Made by this project,
licensed as it is (Apache-2.0).

![contact sheet](contact.png)

| figure | value |
| --- | --- |
{table}

- **Data**: {trained_on:,} synthetic faces (people who do not exist); {HELD_OUT} more are held out
  by `zoo/split.py` and used for the figures and the sheet only. The figures are of the shipped
  bundle, weights in float16, through `mien`. A projection sees its own target.
- **Recipe**: from a 64 px head start of the project's own, 4,580 steps of batch 16 in 74 minutes of
  an earlier form of `zoo/faces128.py` (L1 and VGG features through the encoder; a discriminator on
  pixels saw reconstructions and mixes, and in the first 3,754 steps random samples). Then {steps:,}
  steps in {minutes:.0f} minutes of its present form: the same reconstruction, and mixes of two
  faces whose colours and structure are held to those of the faces they come from; a weak
  discriminator on frozen features. {os.cpu_count()} cores ({platform.machine()}, torch
  {torch.__version__}, bfloat16) that were shared with other work. `zoo/refit.py` fits the mapping
  network to the distribution of the encoder's codes.
- **Beside the head start**: on the same held-out faces the head start's encoder, three times
  larger, reaches 24.2 dB at 64 px.
- **Limits**: frontal faces at 128 px, softer than photographs. Backgrounds, hats, hands, earrings
  and curly hair come out vague; a mix of two very different faces can look painted. Skin and age
  are as diverse as the generated faces of the training data, which is not the world's diversity.
- **Use**: demonstrations and tests. Pictures it makes are synthetic and are marked so.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/")
    options = parser.parse_args()
    record, _ = load(options.run)
    write_card(record.step, record.minutes, options.data, HERE, options.run / "beside.png")


if __name__ == "__main__":
    main()
