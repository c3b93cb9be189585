"""The card of lookalike: python -m zoo.cards.lookalike RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.bundles import bundle_path
from mien_engines import Engine
from mien_engines import open as open_engine
from zoo.card import Card, machine, main
from zoo.faces import learnt_and_held, load_faces
from zoo.judge import Judge
from zoo.lookalike import CONFIG
from zoo.metrics import psnr
from zoo.split import HELD_OUT
from zoo.training import Record

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SHOWN, CONTROLS, BATCH = 5, 10, 20


def card(record: Record, data: Path) -> Card:
    """Measure the shipped bundle."""
    faces = load_faces(data, CONFIG.resolution)
    train, held = learnt_and_held(data)
    pictures = faces[held]
    random = np.random.default_rng(3)
    controls = random.uniform(-1, 1, (CONTROLS, CONFIG.control)).astype(np.float32)
    with open_engine(bundle_path("lookalike")) as engine:
        again = _drawn(engine, pictures, np.zeros(CONFIG.control, np.float32))
        others = np.stack([_drawn(engine, pictures, control) for control in controls])
    judge = Judge(data)
    own = judge.embed(pictures)
    table = np.stack([judge.embed(drawn) @ own.T for drawn in others])  # [10, N, N]
    cosines = np.diagonal(table, axis1=1, axis2=2)  # [10, N]
    strange = (table.sum(2) - cosines) / (len(own) - 1)  # of each look-alike to all others
    strangers = float((own @ own.T)[~np.eye(len(own), dtype=bool)].mean())
    figures = {
        f"PSNR of {HELD_OUT} held-out faces, controls at zero": f"{psnr(again, pictures):.2f} dB",
        "cosine of look-alikes to their source, mean": f"{cosines.mean():.3f}",
        "cosine of look-alikes to strangers, mean": f"{strange.mean():.3f}",
        "of ten look-alikes, nearer to their source than to strangers, mean": (
            f"{(cosines > strange).sum(0).mean():.1f}"
        ),
        "cosine of photographs of strangers, mean": f"{strangers:.3f}",
        "of ten look-alikes, nearer to their source than those are, mean": (
            f"{(cosines > strangers).sum(0).mean():.1f}"
        ),
        "two look-alikes of one face differ by, mean of 255": f"{_difference(others):.1f}",
    }
    rows = {f"face {i + 1} under ten controls": others[:, i] for i in range(SHOWN)}
    sheet = {"controls at zero": again[:CONTROLS], **rows}
    return Card(
        "lookalike: faces like a face",
        _what(),
        figures,
        _remarks(record, len(train)),
        sheet,
        {"held out": pictures[:CONTROLS]},
    )


def _drawn(engine: Engine, pictures: U8, control: F32) -> U8:
    drawn = []
    for start in range(0, len(pictures), BATCH):
        who = engine.run("encode", picture=pictures[start : start + BATCH])["identity"]
        how = np.repeat(control[None], len(who), 0)
        drawn.append(engine.run("generate", identity=who, control=how)["picture"])
    return np.concatenate(drawn)


def _difference(others: U8) -> float:
    """Mean absolute difference between neighbours among the pictures of a face."""
    wide = others.astype(np.float32)
    return float(np.abs(wide[1:] - wide[:-1]).mean())


def _what() -> str:
    return f"""\
System 4's networks at {CONFIG.resolution} px: an encoder to {CONFIG.identity} numbers, who the face
is, and a decoder with {CONFIG.control} controls that enter through AdaIN. Made by this project,
licensed as it is (Apache-2.0)."""


def _remarks(record: Record, trained_on: int) -> dict[str, str]:
    return {
        "Data": f"{trained_on:,} synthetic faces; {HELD_OUT} more are held out by `zoo/split.py`.",
        "Recipe": f"""\
`zoo/lookalike.py`, {record.step:,} steps of batch 24 in {record.minutes:.0f} minutes;
  {machine()}. The first 2,200 went without the loss of structure, at half the weight of the
  likeness, and on sharp pictures alone.""",
        "Cosines": "of embeddings by a published MobileFaceNet that mien does not ship.",
        "Limits": """\
frontal faces at 128 px, softer than photographs. Nine of ten are nearer to their source than to
strangers; not so many are nearer than strangers' photographs are to each other. The figures still
rose when the minutes were spent. And softness costs the judge's cosines by itself: a photograph
blurred by 3 px has 0.31 to itself. Some controls roughen hair.""",
        "Use": "demonstrations and tests. Pictures it makes are synthetic and are marked so.",
    }


if __name__ == "__main__":
    main("lookalike", card, __doc__)
