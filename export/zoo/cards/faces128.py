"""The card of faces128: python -m zoo.cards.faces128 RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from mien import Studio, mix
from zoo import faces128
from zoo.card import Card, machine, main
from zoo.faces import as_images, learnt_and_held, load_faces
from zoo.metrics import distances, psnr, squeeze_lpips
from zoo.split import HELD_OUT
from zoo.training import Record

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SHOWN = 12  # faces in a row of the sheet
PROJECTED = 24  # held-out faces that the projection is measured on, in batches of BATCH
BATCH = 6
PSI = 0.7
LAYERS = ("coarse", "middle", "fine")


def card(record: Record, data: Path) -> Card:
    """Measure the demo bundle."""
    faces = load_faces(data, faces128.CONFIG.resolution)
    train, held = learnt_and_held(data)
    wanted = faces[held]
    with Studio("demo") as studio:
        encoded = _drawn(studio, [studio.invert(face) for face in wanted])
        found = [
            projection
            for i in track(range(0, PROJECTED, BATCH), "projecting")
            for projection in studio.project_all(list(wanted[i : i + BATCH]))
        ]
        codes = [projection.ws for projection in found]
        projected = _drawn(studio, codes)
        steps = f"encoder + {found[0].steps} steps"
        sheet = {
            "the encoder's reconstruction of faces never trained on": encoded[:SHOWN],
            f"after {found[0].steps} projection steps": projected[:SHOWN],
            **{
                f"{name} layers of the right neighbour": _mixed(studio, codes[:SHOWN], name)
                for name in LAYERS
            },
            f"random samples, psi {PSI}": _drawn(
                studio, [studio.sample(seed, psi=PSI) for seed in range(SHOWN)]
            ),
        }
    ms_ssim = np.mean([projection.terms["ms_ssim"] for projection in found])
    few = wanted[:PROJECTED]
    far = distances(squeeze_lpips(data), as_images(projected), as_images(few)).mean()
    figures = {
        f"encoder: PSNR, {HELD_OUT} held-out faces": f"{psnr(encoded, wanted):.2f} dB",
        f"encoder: PSNR, the first {PROJECTED} of them": f"{psnr(encoded[:PROJECTED], few):.2f} dB",
        f"{steps}: PSNR, the same {PROJECTED}": f"{psnr(projected, few):.2f} dB",
        f"{steps}: 1 - MS-SSIM, mean": f"{ms_ssim:.4f}",
        f"{steps}: LPIPS (SqueezeNet), mean": f"{float(far):.3f}",
    }
    return Card(
        "faces128: the generator and encoder that come with mien",
        _what(),
        figures,
        _remarks(record, len(train)),
        sheet,
        {"held out": wanted[:SHOWN]},
    )


def _drawn(studio: Studio, codes: list[F32]) -> U8:
    return np.stack([studio.render(code).array for code in codes])


def _mixed(studio: Studio, codes: list[F32], layers: str) -> U8:
    others = [*codes[1:], codes[0]]
    pairs = zip(codes, others, strict=True)
    return _drawn(studio, [mix(own, other, layers=layers) for own, other in pairs])


def _what() -> str:
    config = faces128.CONFIG
    return f"""\
A StyleGAN2-layout generator ({config.resolution} px, {config.num_ws} layers of {config.w_dim}), a
mapping network of {config.mapping_layers} layers, and an encoder into W+. Made by this project,
licensed as it is (Apache-2.0)."""


def _remarks(record: Record, trained_on: int) -> dict[str, str]:
    return {
        "Data": f"""\
{trained_on:,} synthetic faces (people who do not exist); {HELD_OUT} more are held out by
  `zoo/split.py` and used for the figures and the sheet only. The figures are of the shipped bundle,
  weights in float16, through `mien`. A projection sees its own target.""",
        "Recipe": f"""\
from a 64 px head start of the project's own, 4,580 steps of batch 16 in 74 minutes of
  an earlier form of `zoo/faces128.py` (L1 and VGG features through the encoder; a discriminator on
  pixels saw reconstructions and mixes, and in the first 3,754 steps random samples). Then
  {record.step:,} steps in {record.minutes:.0f} minutes of its present form: reconstructions,
  and mixes of two faces whose colours and structure are held to those of the faces they come from;
  a weak discriminator on frozen features. {machine()}. `zoo/refit.py` fits the mapping network to
  the distribution of the encoder's codes.""",
        "Beside the head start": """\
on the same held-out faces the head start's encoder, three times larger, reaches 24.2 dB at
  64 px.""",
        "Limits": """\
frontal faces at 128 px, softer than photographs. Backgrounds, hats, hands, earrings
  and curly hair come out vague; a mix of two very different faces can look painted. Skin and age
  are as diverse as the generated faces it learnt from, which is not the world's diversity.""",
        "Use": "demonstrations and tests. Pictures it makes are synthetic and are marked so.",
    }


if __name__ == "__main__":
    main("faces128", card, __doc__)
