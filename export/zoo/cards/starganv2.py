"""The card of starganv2: python -m zoo.cards.starganv2 RUN --data DATA"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.bundles import bundle_path
from mien_engines import Engine
from mien_engines import open as open_engine
from zoo.card import Card, machine, main
from zoo.faces import DOMAINS, as_images, learnt_and_held, load_domains, load_faces
from zoo.losses import Vgg19Small
from zoo.split import HELD_OUT
from zoo.starganv2 import CONFIG, LATENT
from zoo.training import Record

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Labels = NDArray[np.int64]

SHOWN, BATCH = 8, 10
LEARNT, STEPS = 2000, 400  # faces and steps that the classifier is fitted with


class Classifier:
    """Tells the domains apart: a linear layer on the moments of VGG's features.

    Its faces are those of the training, and its figure on held-out faces is on the card.
    """

    def __init__(self, data: Path, faces: U8, domains: Labels) -> None:
        self._features = Vgg19Small(data / "weights/vgg19_16x/5SE.pth")
        torch.manual_seed(0)
        x, y = self._moments(faces), torch.from_numpy(domains)
        self._mean, self._deviation = x.mean(0), x.std(0) + 1e-3
        self._layer = torch.nn.Linear(x.shape[1], len(DOMAINS))
        optimiser = torch.optim.AdamW(self._layer.parameters(), 3e-3, weight_decay=0.3)
        for _ in range(STEPS):
            loss = F.cross_entropy(self._scores(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def agrees(self, pictures: U8, domains: Labels) -> float:
        """The part of pictures that it finds in their domains."""
        found = self._scores(self._moments(pictures)).argmax(1)
        return float((found == torch.from_numpy(domains)).double().mean())

    def _scores(self, moments: Tensor) -> Tensor:
        scores: Tensor = self._layer((moments - self._mean) / self._deviation)
        return scores

    @torch.no_grad()
    def _moments(self, pictures: U8) -> Tensor:
        rows = []
        for batch in np.split(pictures, range(BATCH, len(pictures), BATCH)):
            taps = self._features(as_images(batch))[2:]
            quarters = [F.adaptive_avg_pool2d(x.float(), 4).flatten(1) for x in taps]
            rows.append(torch.cat(quarters, 1))
        return torch.cat(rows)


def card(record: Record, data: Path) -> Card:
    """Measure the shipped bundle."""
    faces, domains = load_faces(data, CONFIG.resolution), load_domains(data)
    train, held = (part[domains[part] >= 0] for part in learnt_and_held(data))
    classifier = Classifier(data, faces[train[:LEARNT]], domains[train[:LEARNT]])
    pictures, own = faces[held], domains[held]
    target = 1 - own
    with open_engine(bundle_path("starganv2")) as engine:
        references = np.array([np.flatnonzero(own == t)[i % 20] for i, t in enumerate(target)])
        guided = _guided(engine, pictures, pictures[references], target)
        drawn = _drawn(engine, pictures, target, seed=1)
        rows = _rows(engine, pictures, own)
    figures = {
        "the classifier, on held-out faces": f"{classifier.agrees(pictures, own):.3f}",
        "it agrees with the domain asked for, guided by references": (
            f"{classifier.agrees(guided, target):.3f}"
        ),
        "it agrees with the domain asked for, guided by random codes": (
            f"{classifier.agrees(drawn, target):.3f}"
        ),
        "mean change of a pixel by translation, of 255": f"{_change(guided, pictures):.1f}",
    }
    women = pictures[own == 0][:SHOWN]
    return Card(
        "starganv2: women and men",
        _what(),
        figures,
        _remarks(record, len(train)),
        rows,
        {"held out": women, "references": pictures[own == 1][:SHOWN]},
    )


def _guided(engine: Engine, pictures: U8, references: U8, domain: Labels) -> U8:
    drawn = []
    for start in range(0, len(pictures), BATCH):
        part = slice(start, start + BATCH)
        style = engine.run("style_reference", picture=references[part], domain=domain[part])
        drawn.append(_translated(engine, pictures[part], style["style"]))
    return np.concatenate(drawn)


def _drawn(engine: Engine, pictures: U8, domain: Labels, seed: int) -> U8:
    random, drawn = np.random.default_rng(seed), []
    for start in range(0, len(pictures), BATCH):
        part = slice(start, start + BATCH)
        z = random.standard_normal((len(pictures[part]), LATENT)).astype(np.float32)
        style = engine.run("style_latent", z=z, domain=domain[part])["style"]
        drawn.append(_translated(engine, pictures[part], style))
    return np.concatenate(drawn)


def _translated(engine: Engine, pictures: U8, style: F32) -> U8:
    outputs = engine.run("translate", picture=pictures, style=style)
    drawn: U8 = next(x for x in outputs.values() if x.dtype == np.uint8)
    return drawn


def _rows(engine: Engine, pictures: U8, own: Labels) -> dict[str, U8]:
    """Each row one style on all sources."""
    rows = {}
    for source, name in enumerate(DOMAINS):
        sources = pictures[own == source][:SHOWN]
        target = np.full(SHOWN, 1 - source)
        for i in range(3):
            reference = pictures[own == 1 - source][[i] * SHOWN]
            label = f"{name} sources in the style of reference {i + 1}"
            rows[label] = _guided(engine, sources, reference, target)
        rows[f"{name} sources in styles of random codes"] = _drawn(engine, sources, target, 2)
    return rows


def _change(found: U8, wanted: U8) -> float:
    return float(np.abs(found.astype(np.float32) - wanted).mean())


def _what() -> str:
    return f"""\
StarGAN v2 (Choi et al. 2020) at {CONFIG.resolution} px between two domains, of an eighth of the
published widths. Made by this project, licensed as it is (Apache-2.0)."""


def _remarks(record: Record, trained_on: int) -> dict[str, str]:
    return {
        "Data": f"""\
{trained_on:,} synthetic faces whose source says woman or man; of the {HELD_OUT} held out by
  `zoo/split.py`, those whose source says so.""",
        "Recipe": f"""\
`zoo/starganv2.py`, {record.step:,} steps of batch 8 in {record.minutes:.0f} minutes;
  {machine()}.""",
        "Limits": "frontal faces at 128 px, softer than photographs; two words for a wide field.",
        "Use": "demonstrations and tests. Pictures it makes are synthetic and are marked so.",
    }


if __name__ == "__main__":
    main("starganv2", card, __doc__)
