"""The card of vaegan: python -m zoo.cards.vaegan RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.bundles import bundle_path
from mien.edits.merge import block_px, block_weights
from mien_engines import Engine
from mien_engines import open as open_engine
from zoo.card import Card, machine, main
from zoo.faces import learnt_and_held, load_faces
from zoo.judge import Judge
from zoo.metrics import psnr
from zoo.split import HELD_OUT
from zoo.training import Record
from zoo.vaegan import CONFIG

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SHOWN, BATCH = 12, 20


def card(record: Record, data: Path) -> Card:
    """Measure the shipped bundle."""
    faces = load_faces(data, CONFIG.resolution)
    train, held = learnt_and_held(data)
    pictures = faces[held]
    with open_engine(bundle_path("vaegan")) as engine:
        again = _through(engine, pictures)
        merged = {name: _merged(engine, pictures, name) for name in ("merge", "merge_plain")}
        middle = _merged(engine, pictures[:SHOWN], "merge", block_weights(engine, "middle", 1.0))
    judge = Judge(data)
    own, drawn = judge.embed(pictures), judge.embed(merged["merge"])
    parents = [(drawn * x).sum(1) for x in (own, np.roll(own, -1, 0))]
    strangers = (drawn * np.roll(own, len(own) // 2, 0)).sum(1)
    figures = {
        f"PSNR of {HELD_OUT} held-out faces": f"{psnr(again, pictures):.2f} dB",
        "cosine of a merge to its content, mean": f"{parents[0].mean():.3f}",
        "cosine of a merge to its pattern, mean": f"{parents[1].mean():.3f}",
        "cosine of a merge to a stranger, mean": f"{strangers.mean():.3f}",
    }
    sheet = {
        "faces never trained on, drawn again": again[:SHOWN],
        "merged with the right neighbour as pattern": merged["merge"][:SHOWN],
        "the same without learnt parameters": merged["merge_plain"][:SHOWN],
        "merged in the middle blocks alone": middle,
    }
    return Card(
        "vaegan: two faces become one",
        _what(),
        figures,
        _remarks(record, len(train)),
        sheet,
        {"held out": pictures[:SHOWN]},
    )


def _through(engine: Engine, pictures: U8) -> U8:
    drawn = []
    for start in range(0, len(pictures), BATCH):
        mu = engine.run("encode", picture=pictures[start : start + BATCH])["mu"]
        codes = np.repeat(mu[:, None], len(block_px(engine)), 1)
        drawn.append(engine.run("generate", codes=codes)["picture"])
    return np.concatenate(drawn)


def _merged(engine: Engine, pictures: U8, graph: str, weight: F32 | None = None) -> U8:
    patterns = np.roll(pictures, -1, 0)
    full = block_weights(engine, "all", 1.0) if weight is None else weight
    return np.concatenate(
        [
            engine.run(
                graph,
                content=pictures[i : i + BATCH],
                pattern=patterns[i : i + BATCH],
                weight=full,
            )["picture"]
            for i in range(0, len(pictures), BATCH)
        ]
    )


def _what() -> str:
    return f"""\
System 0's networks at {CONFIG.resolution} px: a VAE's encoder to {CONFIG.latent} numbers, a
generator with a code for each block, and a merge of two codes. Made by this project, licensed as
it is (Apache-2.0)."""


def _remarks(record: Record, trained_on: int) -> dict[str, str]:
    return {
        "Data": f"{trained_on:,} synthetic faces; {HELD_OUT} more are held out by `zoo/split.py`.",
        "Recipe": f"""\
`zoo/vaegan.py`, {record.step:,} steps of batch 24 in {record.minutes:.0f} minutes; {machine()}.
The first 1,773 went without the loss of structure, and on sharp pictures alone.""",
        "Cosines": "of embeddings by a published MobileFaceNet that mien does not ship.",
        "Limits": """\
frontal faces at 128 px, softer than photographs. A merge keeps much of the content and takes less
of the pattern: its cosine to the pattern is above that of strangers, and not by much. Locks of hair
may come out as strands.""",
        "Use": "demonstrations and tests. Pictures it makes are synthetic and are marked so.",
    }


if __name__ == "__main__":
    main("vaegan", card, __doc__)
