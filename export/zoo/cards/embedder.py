"""The card of embedder: python -m zoo.cards.embedder RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.bundles import bundle_path
from mien_engines import Engine
from mien_engines import open as open_engine
from zoo.card import Card, machine, main
from zoo.embedder import SIDE, auc, taken_again
from zoo.faces import as_images, learnt_and_held, load_faces
from zoo.split import HELD_OUT
from zoo.training import Record

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

IMAGE = 256  # px, of the graph embed_image, which cuts the face out of an aligned picture


def card(record: Record, data: Path) -> Card:
    """Measure the shipped bundle."""
    faces = load_faces(data, SIDE)
    train, held = learnt_and_held(data)
    pictures = faces[held]
    views = [pictures, taken_again(pictures, np.random.default_rng(5))]
    with open_engine(bundle_path("embedder")) as engine:
        own, again = (_embedded(engine, view) for view in views)
    cosines: F32 = own @ again.T
    same = cosines.diagonal()
    strangers = cosines[~np.eye(len(own), dtype=bool)]
    figures = {
        f"AUC, {HELD_OUT} held-out faces taken again against strangers": (
            f"{auc(torch.from_numpy(same.copy()), torch.from_numpy(strangers)):.4f}"
        ),
        "cosine of a face taken again: mean, lowest": f"{same.mean():.3f}, {same.min():.3f}",
        "cosine of strangers: mean, 99th of 100": (
            f"{strangers.mean():.3f}, {np.quantile(strangers, 0.99):.3f}"
        ),
        "cosine to the teacher's embedding, mean": f"{record.log[-1]['cosine to the teacher']:.3f}",
    }
    return Card("embedder: who a face is", _what(), figures, _remarks(record, len(train)))


def _embedded(engine: Engine, pictures: U8) -> F32:  # -> [N, 128]
    size = (IMAGE, IMAGE)
    rows = []
    for picture in pictures:
        large = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        rows.append(engine.run("embed_image", image=as_images(large[None]).numpy())["embedding"])
    return np.concatenate(rows)


def _what() -> str:
    return """\
A recognition network of MobileFaceNet's layout (Chen et al. 2018), of less than half its widths:
a face of 112 px becomes 128 numbers. Made by this project, licensed as it is (Apache-2.0)."""


def _remarks(record: Record, trained_on: int) -> dict[str, str]:
    return {
        "Data": f"{trained_on:,} synthetic faces; {HELD_OUT} more are held out by `zoo/split.py`.",
        "Recipe": f"""\
`zoo/embedder.py`: towards the embeddings of a published MobileFaceNet, {record.step:,} steps of
  batch 32 in {record.minutes:.0f} minutes; {machine()}.""",
        "Taken again": "turned, moved, scaled, mirrored, lit and blurred differently.",
        "Limits": """\
it never saw two photographs of one person on different days. It serves to steer and to measure
  edits, not to recognise people.""",
        "Use": "the identity term of swaps, and figures.",
    }


if __name__ == "__main__":
    main("embedder", card, __doc__)
