"""Spherical mini-batch k-means: which directions rows of numbers gather round.

Sculley 2010 ("Web-scale k-means clustering"), with rows and centres of length 1, so that cosines
decide (Dhillon and Modha 2001). Collins et al. 2020 find parts of faces with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

F32 = NDArray[np.float32]
Labels = NDArray[np.int64]

BATCH = 1024  # rows a step
HELD = 8192  # rows that starts are drawn from and results compared on
STEPS, PATIENCE = 300, 20  # at most; without a better batch, averaged
SMOOTHED = 0.2  # weight of a batch in that average
RESTARTS = 3
REVISED = 10  # steps between two looks for centres that hardly any row belongs to
RARE = 0.01  # of the rows of the largest


def spherical_kmeans(rows: F32, count: int, *, seed: int) -> F32:  # [M, C] -> [count, C]
    """Return the centres, each of length 1; the same for the same seed.

    Of RESTARTS runs the one whose rows are nearest their centres, by the mean cosine, is taken.
    Raises InputError where there are fewer rows than centres, or a row is not finite.
    """
    if not 1 <= count <= len(rows):
        raise InputError(f"{count} clusters of {len(rows)} rows", hint="Ask for fewer clusters")
    if not np.isfinite(rows).all():
        raise InputError("the rows hold NaN or infinity", hint="Check the generator's codes")
    random = np.random.default_rng(seed)
    unit = normalised(rows)
    held = unit[random.choice(len(unit), min(len(unit), HELD), replace=False)]
    runs = [_run(unit, _spread(held, count, random), random) for _ in range(RESTARTS)]
    return max(runs, key=lambda centres: float((held @ centres.T).max(1).mean()))


def nearest(rows: F32, centres: F32) -> Labels:  # [..., C], [K, C] -> [...]
    """Return the centre of the greatest cosine for each row."""
    owner: Labels = (rows @ centres.T).argmax(-1)
    return owner


def normalised(rows: F32) -> F32:
    """Scale rows to length 1; one that is nothing stays nothing."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: F32 = (rows / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def _spread(held: F32, count: int, random: np.random.Generator) -> F32:
    """Draw rows far from each other: k-means++ (Arthur and Vassilvitskii 2007).

    The squared distance of two rows of length 1 is 2 (1 - cosine).
    """
    chosen = [held[random.integers(len(held))]]
    apart = np.full(len(held), np.inf)
    while len(chosen) < count:
        apart = np.minimum(apart, (1 - held @ chosen[-1]).clip(0).astype(np.float64))
        total = apart.sum()
        at = random.choice(len(held), p=apart / total) if total > 0 else random.integers(len(held))
        chosen.append(held[at])
    return np.stack(chosen)


def _run(unit: F32, centres: F32, random: np.random.Generator) -> F32:
    """Move centres towards the rows of one batch after another, each by its share so far."""
    counts = np.zeros(len(centres))
    best, smoothed, waited = -np.inf, None, 0
    for step in range(1, STEPS + 1):
        batch = unit[random.integers(len(unit), size=BATCH)]
        cosines = batch @ centres.T
        owner = cosines.argmax(1)
        found = float(cosines.max(1).mean())
        smoothed = found if smoothed is None else smoothed + SMOOTHED * (found - smoothed)
        belongs = np.eye(len(centres), dtype=np.float32)[owner]  # [BATCH, K]
        here = belongs.sum(0)
        counts += here
        share = np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)[:, None]
        moved = centres + share * (belongs.T @ batch - here[:, None] * centres)
        centres = normalised(moved.astype(np.float32))
        if step % REVISED == 0 and (rare := counts < RARE * counts.max()).any():
            centres[rare] = batch[random.choice(BATCH, int(rare.sum()), replace=False)]
            counts[rare] = counts[~rare].min()
        best, waited = (smoothed, 0) if smoothed > best else (best, waited + 1)
        if waited >= PATIENCE:
            break
    return centres
